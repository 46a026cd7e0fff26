"""A folder knows how it was made and whose it is; a run that was made otherwise is kept."""

from pathlib import Path

import pytest
from support.pictures import make_noise_folder

from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.dataset.provenance import (
    PROVENANCE,
    locked_output,
    locked_raw,
    locked_run,
    make_provenance,
    read_provenance,
    settings_of,
)
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError
from fer_pipeline.files import hash_file


@pytest.fixture
def config(tmp_path: Path) -> UnifyConfig:
    (tmp_path / "out").mkdir()
    return UnifyConfig(input=make_noise_folder(tmp_path / "in", 1), output=tmp_path / "out")


def test_a_provenance_holds_settings_and_the_hash_of_the_input_but_no_folder(config: UnifyConfig) -> None:
    provenance = make_provenance("unify", config)
    assert provenance["input"] == hash_file(config.input / MANIFEST)
    assert provenance["settings"]["quality"] == 95
    assert not {"input", "output"} & set(provenance["settings"])


@pytest.mark.parametrize("text", ["{", "\x00", '{"stage": '])
def test_an_unreadable_provenance_is_refused_in_one_line(config: UnifyConfig, text: str) -> None:
    (config.output / PROVENANCE).write_text(text)
    with (
        pytest.raises(InputError, match=r"provenance.json: unreadable") as caught,
        locked_output(config.output, "unify"),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["index.html", ".hidden", "sub/photo.jpg", "journal.jsonl", "manifest.jsonl"])
def test_a_folder_that_holds_something_else_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "site" / name).parent.mkdir(parents=True)
    (tmp_path / "site" / name).write_text("dear")
    before = sorted((tmp_path / "site").rglob("*"))
    with (
        pytest.raises(InputError, match="was not made by fer: name another output folder"),
        locked_raw(tmp_path / "site"),
    ):
        pass
    assert sorted((tmp_path / "site").rglob("*")) == before


def test_a_file_or_a_folder_of_another_stage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    with pytest.raises(InputError, match="is a file"), locked_raw(tmp_path / "file"):
        pass
    with locked_raw(tmp_path / "raw"):
        pass
    with (
        pytest.raises(InputError, match="was made by `fer import` or `fer crawl`"),
        locked_output(tmp_path / "raw", "crop"),
    ):
        pass


def made(seed: int, **more: object) -> dict[str, object]:
    return {"stage": "train", "settings": {"seed": seed}, "input": "x", "upstream": None, **more}


def begin(run: Path, seed: int, *, force: bool = False, **more: object) -> None:
    with locked_run(run, made(seed, **more), force=force):
        (run / "model.onnx").touch()
        (run / "seed.txt").write_text(str(seed))


def test_a_run_made_otherwise_is_kept_under_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 1, 2, 3):
        begin(tmp_path / "mine", seed)
    seeds = {path.name: (path / "seed.txt").read_text() for path in tmp_path.iterdir()}
    assert seeds == {"mine": "3", "mine.1": "1", "mine.2": "2"}
    assert "train.seed 1 → 2): it is kept as" in capsys.readouterr().err


def test_force_asks_for_another_run_and_keeps_the_first(tmp_path: Path) -> None:
    begin(tmp_path / "mine", 1)
    begin(tmp_path / "mine", 1, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.1"]


def test_what_lies_in_a_run_stays_with_it_and_decoded_crops_go_on(tmp_path: Path) -> None:
    begin(tmp_path / "mine", 1)
    (tmp_path / "mine/notes.txt").write_text("dear")
    (tmp_path / "mine/cache").mkdir()
    begin(tmp_path / "mine", 2)
    assert (tmp_path / "mine.1/notes.txt").read_text() == "dear"
    assert (tmp_path / "mine/cache").is_dir()


def test_a_folder_that_holds_no_run_yet_needs_no_number(tmp_path: Path) -> None:
    for seed in (1, 2):
        with locked_run(tmp_path / "mine", made(seed), force=False):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (read_provenance(tmp_path / "mine") or {})["settings"] == {"seed": 2}


def test_a_provenance_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / PROVENANCE).write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"provenance.json: unreadable .* delete it and run"):
        read_provenance(tmp_path)


@pytest.mark.parametrize("text", ['{"stage": "crop"}', '{"stage": "crop", "settings": 3}', '{"upstream": [1]}', "[]"])
def test_a_provenance_that_tells_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVENANCE).write_text(text)
    assert settings_of(tmp_path, "crop") is None
