"""A cluster of two nodes gives the rows and bytes of one process, also when a node or an image's process dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.drawn import write_config
from support.killed import started
from support.pictures import draw_portrait, draw_view, list_files, make_folder

from fer_pipeline.config.schema import CropConfig, DedupeConfig, FilterConfig, StageConfig, UnifyConfig
from fer_pipeline.dataset.journal import Journal
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, read_rows
from fer_pipeline.errors import SetupError
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.records import OUTCOMES
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.stage import Keep, Stage, Verdict
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.image_io import Image, link_image, read_image, write_image
from fer_pipeline.workers import ray_cluster as of_ray
from fer_pipeline.workers import ray_shards as shards
from fer_pipeline.workers.ray_cluster import connect, load_ray
from fer_pipeline.workers.ray_nodes import PROBE, check_nodes, check_output, look, probe, share
from fer_pipeline.workers.ray_shards import work_on_cluster
from fer_pipeline.workers.stage_workers import WorkerCrash, Workers

if find_spec("ray") is None:
    pytest.skip("the extra `scale` is not installed", allow_module_level=True)
SMALL: Any = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, on this machine; this process works from the first."""
    ray = load_ray()
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the nodes find this module, and its stages
        made: Any = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
        made.add_node(**SMALL)
        patch.setenv("RAY_ADDRESS", made.address)
        connect()
        yield made
        ray.shutdown()
    made.shutdown()


def invert(image: Image, row: Row, config: StageConfig) -> Verdict:
    return Keep(image=np.asarray(255 - image), attributes={"width": image.shape[1]})


def kill_on_dark(image: Image, row: Row, config: StageConfig) -> Verdict:
    """A native library that a certain image makes crash."""
    if int(image.max()) == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    return invert(image, row, config)


def hang_far_away(image: Image, row: Row, config: StageConfig) -> Verdict:
    """Never ends on the second node, from the fourth shard on; the first node waits until the second hangs."""
    sign = config.input.parent / "hangs"
    if int(Path(row.path).stem) >= 3 * shards.SHARD:
        while is_far_away():
            sign.touch()
            time.sleep(0.1)
        while not sign.exists():
            time.sleep(0.01)
    return invert(image, row, config)


def is_far_away() -> bool:
    ray = load_ray()
    here = ray.get_runtime_context().get_node_id()
    return not any(node["NodeID"] == here and "node:__internal_head__" in node["Resources"] for node in ray.nodes())


def replace_output(image: Image, row: Row, config: StageConfig) -> Verdict:
    """The output is another folder of that name from now on, as on a node that lost its mount."""
    if config.output.exists() and not config.output.with_name("unmounted").exists():
        config.output.rename(config.output.with_name("unmounted"))
        config.output.mkdir()
    return invert(image, row, config)


INVERT: Stage[StageConfig] = Stage("invert", process_image=invert, suffix=".png")
HANGING: Stage[StageConfig] = Stage("invert", process_image=hang_far_away, suffix=".png")
LOSING: Stage[StageConfig] = Stage("losing", process_image=replace_output, suffix=".png")
FRAGILE: Stage[StageConfig] = Stage("fragile", process_image=kill_on_dark, suffix=".png")


def square(number: int) -> int:
    return number * number


def tell_place(_: int) -> tuple[str, str, str | None, int]:
    import cv2

    node = load_ray().get_runtime_context().get_node_id()
    return node, f"{node} {os.getpid()}", os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads()


def lack_something(number: int) -> int:
    raise SetupError("no room: make some")


def hold(job: tuple[int, str]) -> int:
    """Quick at first, then long at work; leaves a file if it is not stopped."""
    number, sign = job
    if number >= shards.SHARD:
        for _ in range(200):
            time.sleep(0.1)
        Path(sign).touch()
    return number


def unmount(job: tuple[int, Path]) -> int:
    """The folder of a file goes away while some items are at work."""
    number, file = job
    if number == 3:
        file.parent.rename(file.parent.with_name("unmounted"))
    return number


def write_and_link(job: tuple[Path, Path]) -> int:
    """What a shard does that is done twice at once: the same files, under the same names."""
    picture, folder = job
    write_image(folder / "written.png", read_image(picture))
    link_image(picture, folder / "linked.png")
    return int(read_image(folder / "written.png").max()) + int(read_image(folder / "linked.png").max())


def look_through_old_glasses(manifest: str) -> dict[str, str]:
    return look(manifest) | {"pillow": "1.1.7"}


def look_elsewhere(manifest: str) -> dict[str, str]:
    return look(f"{manifest}-elsewhere") | {manifest: "No such file or directory"}


def see_elsewhere(folder: str, token: str) -> tuple[str, str]:
    return probe(f"{folder}-elsewhere", token)


def see_and_say_nothing(folder: str, token: str) -> tuple[str, str]:
    return f"{PROBE}-nowhere", ""


def clean_and_crop(raw: Path, home: Path, workers: Workers) -> None:
    run_stage(UNIFY, UnifyConfig(input=raw, output=home / "unified"), workers=workers)
    run_stage(DEDUPE, DedupeConfig(input=home / "unified", output=home / "unique"), workers=workers)
    run_stage(FILTER, FilterConfig(input=home / "unique", output=home / "faces"), workers=workers)
    run_stage(CROP, CropConfig(input=home / "faces", output=home / "crops"), workers=workers)


@pytest.mark.slow
def test_without_a_cluster_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands first, since later there is one; nothing is removed although --force was given."""
    if load_ray()._private.services.find_gcs_addresses():
        pytest.skip("a Ray cluster runs on this machine")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    source = make_folder(tmp_path / "in", {"a/0.png": draw_view(0, side=64)})
    config = UnifyConfig(input=source, output=tmp_path / "out")
    run_stage(UNIFY, config)
    made = list_files(tmp_path / "out")
    with pytest.raises(SetupError, match=r"no Ray cluster runs on this machine: `ray start --head`"):
        run_stage(UNIFY, config, workers="ray", force=True)
    assert list_files(tmp_path / "out") == made
    assert not run_stage(UNIFY, config, workers="ray").fresh  # what is finished needs none


@pytest.mark.slow
def test_a_cluster_gives_the_rows_and_bytes_of_one_process(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: dict[str, Image | bytes] = {f"a/{number}.jpg": draw_portrait(number, side=240)[0] for number in range(10)}
    pictures |= {"a/copy.jpg": pictures["a/3.jpg"], "b/view.jpg": draw_view(1), "b/broken.jpg": b"\xff\xd8rubbish"}
    raw = make_folder(tmp_path / "raw", pictures)
    clean_and_crop(raw, tmp_path / "one", 1)
    monkeypatch.chdir(tmp_path)  # the nodes stand elsewhere
    clean_and_crop(Path("raw"), Path("ray"), "ray")
    assert list_files(tmp_path / "ray") == list_files(tmp_path / "one")
    assert sum(row.status is Status.KEPT for row in read_rows(tmp_path / "ray" / "crops")) >= 8


@pytest.mark.slow
def test_shards_are_done_on_all_nodes_in_few_processes_of_one_thread(cluster: Any) -> None:
    results = [result for _, result in work_on_cluster(tell_place, range(40 * shards.SHARD))]
    places = [result for result in results if not isinstance(result, WorkerCrash)]
    assert len({node for node, _, _, _ in places}) == 2
    assert len({process for _, process, _, _ in places}) <= 4
    assert {(name, threads) for _, _, name, threads in places} == {("1", 1)}


@pytest.mark.slow
def test_results_come_in_order_and_items_are_not_read_far_ahead(cluster: Any) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            read.append(number)
            yield number

    results = work_on_cluster(square, items())
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 4)]
    assert len(read) <= 2 * shards.AHEAD * shards.SHARD
    results.close()  # type: ignore[attr-defined]
    assert list(work_on_cluster(square, range(100))) == [(number, number * number) for number in range(100)]
    assert list(work_on_cluster(square, [])) == []


@pytest.mark.slow
def test_an_error_of_the_set_up_comes_through_as_it_is(cluster: Any) -> None:
    with pytest.raises(SetupError, match=r"^no room: make some$"):
        list(work_on_cluster(lack_something, range(3)))


@pytest.mark.slow
def test_an_image_that_kills_its_process_costs_that_image(cluster: Any, tmp_path: Path) -> None:
    pictures: dict[str, Image | bytes] = {f"a/{n:02}.png": np.full((16, 16, 3), 10 * n, np.uint8) for n in range(10)}
    source = make_folder(tmp_path / "in", pictures)
    run_stage(FRAGILE, StageConfig(input=source, output=tmp_path / "out"), workers="ray")
    outcomes = {row.path: (row.status, row.reason) for row in read_rows(tmp_path / "out")}
    assert outcomes.pop("a/00.png") == (Status.FAILED, "crash")
    assert set(outcomes.values()) == {(Status.KEPT, "")}
    assert len(outcomes) == 9


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_no_image(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: dict[str, Image | bytes] = {
        f"a/{number:04}.png": np.full((16, 16, 3), number % 256, np.uint8) for number in range(400)
    }
    source = make_folder(tmp_path / "in", pictures)
    run_stage(INVERT, StageConfig(input=source, output=tmp_path / "one"))
    append, finished = Journal.append, []

    def append_and_kill(journal: Journal, item: str, rows: list[Row], key: str) -> None:
        append(journal, item, rows, key)
        finished.append(item)
        if len(finished) == 2 * shards.SHARD:
            while not (tmp_path / "hangs").exists():
                time.sleep(0.01)
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    monkeypatch.setattr(Journal, "append", append_and_kill)
    try:
        run_stage(HANGING, StageConfig(input=source, output=tmp_path / "ray"), workers="ray")
    finally:
        cluster.add_node(**SMALL)
    assert len(finished) == len(set(finished)) == 400
    assert list_files(tmp_path / "ray") == list_files(tmp_path / "one")


@pytest.mark.slow
def test_nobody_waits_for_the_shards_of_a_stage_that_was_stopped(cluster: Any, tmp_path: Path) -> None:
    sign = tmp_path / "done"
    results = work_on_cluster(hold, ((number, str(sign)) for number in range(3 * shards.SHARD)))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(list(work_on_cluster(square, range(3 * shards.SHARD)))) == 3 * shards.SHARD
    assert not sign.exists()


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_leaves_the_journal(cluster: Any, tmp_path: Path) -> None:
    photo = make_folder(tmp_path / "one", {"a/0.png": draw_view(0, side=600)}) / "a" / "0.png"
    raw = make_folder(tmp_path / "data" / "drawn" / "raw", {f"a/{number}.png": b"" for number in range(400)})
    for path in raw.glob("a/*.png"):
        path.unlink()
        os.link(photo, path)
    config = write_config(tmp_path, "workers: ray")
    journal = tmp_path / "data" / "drawn" / "unified" / OUTCOMES
    command = [sys.executable, "-m", "fer_pipeline", "--quiet", "unify", "-c", str(config)]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end and not (journal.is_file() and journal.stat().st_size):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=120)[0]
    assert told == "fer: interrupted: nothing is lost, the same command goes on where it stopped\n"
    assert process.returncode == 1
    assert journal.is_file()
    assert not journal.with_name(MANIFEST).exists()


@pytest.mark.slow
def test_other_versions_on_a_node_are_refused_by_name(cluster: Any, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {})
    check_nodes(source / MANIFEST)
    with pytest.raises(SetupError, match=r"node [\d.]+ has pillow 1\.1\.7, and .* install the same on every node"):
        check_nodes(source / MANIFEST, look_through_old_glasses)


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_refused(cluster: Any, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {})
    unseen = r"does not share .*/in \(.*No such file.*\): mount it on every node under the same path"
    (source / PROBE).write_text("a file of the user's")
    check_output(source)
    with pytest.raises(SetupError, match=unseen):
        check_nodes(source / MANIFEST, look_elsewhere)
    with pytest.raises(SetupError, match=unseen):
        check_output(source, see_elsewhere)
    with pytest.raises(SetupError, match=r"/in \(what it writes is not seen here\)"):
        check_output(source, see_and_say_nothing)
    assert [path.read_text() for path in source.glob(f"{PROBE}*")] == ["a file of the user's"]


@pytest.mark.slow
def test_a_node_that_joined_later_and_sees_another_file_is_refused(cluster: Any, tmp_path: Path) -> None:
    unlike = Path("/proc/self/cmdline")  # another in every process
    if not unlike.exists():
        pytest.skip("needs a file that every process sees otherwise")
    (tmp_path / "token").write_text("here")
    assert dict(work_on_cluster(square, range(3), [tmp_path / "token"])) == {0: 0, 1: 1, 2: 4}
    with pytest.raises(
        SetupError, match=r"^node [\d.]+ does not share /proc/self \(cmdline has .*\): mount it on every"
    ):
        list(work_on_cluster(square, range(3), [unlike]))


@pytest.mark.slow
def test_what_went_to_a_folder_that_is_no_longer_shared_does_not_count(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    file = tmp_path / "share" / "token"
    file.write_text("here")
    with pytest.raises(SetupError, match=r"does not share .*/share \(token has No such file or directory\)"):
        list(work_on_cluster(unmount, ((number, file) for number in range(5)), [file]))


@pytest.mark.slow
def test_a_node_that_loses_the_output_stops_the_stage_before_a_manifest_exists(cluster: Any, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {f"a/{number}.png": draw_view(0, side=16) for number in range(3)})
    config = StageConfig(input=source, output=tmp_path / "out")
    with pytest.raises(SetupError, match=r"does not share .*/out \(\.lock has No such file or directory\): mount it"):
        run_stage(LOSING, config, workers="ray")
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert not (tmp_path / "unmounted" / MANIFEST).exists()


@pytest.mark.slow
def test_what_two_nodes_write_at_once_is_what_one_writes(cluster: Any, tmp_path: Path) -> None:
    picture = make_folder(tmp_path / "in", {"a/0.png": draw_view(0)}) / "a" / "0.png"
    jobs = [(picture, tmp_path / "out")] * (8 * shards.SHARD)
    assert {result for _, result in work_on_cluster(write_and_link, jobs)} == {2 * int(read_image(picture).max())}
    assert sorted(list_files(tmp_path / "out")) == ["linked.png", "written.png"]
    assert (tmp_path / "out" / "linked.png").samefile(picture)


@pytest.mark.slow
def test_the_settings_of_a_process_in_another_folder_have_absolute_paths(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    config = share(CropConfig(input=Path("in"), output=Path("out"), landmarks=Path("points.dat")))
    assert config == CropConfig(input=tmp_path / "in", output=tmp_path / "out", landmarks=tmp_path / "points.dat")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_ray, "find_spec", {}.get)
    with pytest.raises(SetupError, match=r"Ray is not installed: `pip install 'fer-pipeline\[scale\]'`"):
        connect()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:9", "no Ray cluster answers there: name its head, or unset it"),
        ("ray://127.0.0.1:9", "use `ray job submit`"),
        ("rub bish", "no Ray cluster answers there"),
    ],
)
def test_an_address_without_a_cluster_is_told_at_once(monkeypatch: pytest.MonkeyPatch, address: str, told: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SetupError, match=f"RAY_ADDRESS={address}: .*{re.escape(told)}"):
        of_ray.check_address()
