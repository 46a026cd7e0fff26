"""The pipeline as a library: what it takes, what it tells, and what it would do."""

from pathlib import Path

import pytest
from support.drawn import write_classes, write_config

from fer_pipeline.config.loader import load_config
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import UsageError
from fer_pipeline.pipeline import ORDER, Event, StepResult, plan, run
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.vision.image_io import read_image

SETTINGS = """workers: 1
dedupe: {distance: 0, group_distance: 0}
filter: {detector: none}
crop: {region: whole, size: 32, margin: 1.05}
split: {test_share: 0.25}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose raw folder is filled with drawn mouths."""
    photos = write_classes(tmp_path / "photos", 8)
    import_images(find_in_folder(photos), tmp_path / "data" / "drawn" / "raw", "photos")
    return write_config(tmp_path, SETTINGS)


def test_a_run_takes_a_path_a_text_or_a_configuration_and_does_each_step_once(config: Path) -> None:
    results = run(config, until="crop")
    assert [(one.step, one.fresh) for one in results] == list(zip(ORDER[:5], [False, *[True] * 4], strict=True))
    assert len(read_rows(results[-1].folder)) == 16
    for again in (str(config), load_config(config)):
        assert not any(one.fresh for one in run(again, until="crop"))
    assert run(config, until="split")[-1] == StepResult("split", config.parent / "data" / "drawn" / "split", True)


def test_without_a_name_the_configuration_of_the_working_folder_is_run(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FER_CONFIG", raising=False)
    monkeypatch.chdir(config.parent)
    config.rename("fer.yaml")
    assert run(until="unify")[-1].fresh


def test_lines_go_to_the_callback_and_nothing_is_printed_by_the_pipeline(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Event] = []
    run(config, until="split", progress=told.append)
    assert [event.step for event in told] == [*ORDER[:6], "split", "split"]
    assert all(event.text.startswith(f"{event.step}: ") for event in told)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not [event.text for event in told if event.text in captured.err]


def test_a_step_that_is_none_is_told_with_those_there_are(config: Path) -> None:
    for function in (run, plan):
        with pytest.raises(UsageError, match=r"nonsense: no such step: name one of crawl, unify,"):
            function(config, until="nonsense")


def test_other_settings_make_again_what_depends_on_them(config: Path) -> None:
    run(config, until="crop")
    changed = load_config(config, ["crop.size=40"])
    told: list[str] = []
    fresh = [
        one.step for one in run(changed, until="crop", progress=lambda event: told.append(event.text)) if one.fresh
    ]
    assert fresh == ["crop"]
    assert "crop: settings changed: crop.size 32 → 40" in told


def told_by(config: Path, *overrides: str) -> dict[str, str]:
    return {one.step: one.reason for one in plan(load_config(config, overrides), "split")}


def test_a_plan_tells_of_settings_input_decisions_and_what_follows(config: Path) -> None:
    nothing = dict.fromkeys(ORDER[:6], "nothing to do")
    begun = dict.fromkeys(ORDER[1:6], "will run")
    assert told_by(config) == nothing | begun
    run(config, until="split")
    assert told_by(config) == nothing
    after = {"split": "will be brought up to date after crop"}
    assert told_by(config, "crop.margin=1.2") == nothing | after | {
        "crop": "will run again: it was made with other settings (crop.margin 1.05 → 1.2)"
    }
    assert told_by(config, "crop.margin=null", "crop.align=true") == nothing | after | {
        "crop": "will run again: it was made with other settings (crop.align false → true, crop.margin 1.05 → default)"
    }
    more = write_classes(config.parent / "more", 9)
    import_images(find_in_folder(more), config.parent / "data" / "drawn" / "raw", "more")
    grown = told_by(config)
    assert (
        grown["unify"] == "will run again: it was made from another state of its input folder, which has changed since"
    )
    assert set(list(grown.values())[2:]) == {"will be brought up to date after unify"} | {
        f"will be brought up to date after {name}" for name in ORDER[2:5]
    }


def test_a_plan_sees_the_folder_that_the_run_will_refuse(config: Path) -> None:
    foreign = config.parent / "data/drawn/unified/thesis.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    assert told_by(config)["unify"].startswith("will fail: ")


def test_a_plan_of_an_empty_folder_asks_the_engines_and_makes_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, "crawl: {engines: [bing, baidu]}")
    steps = plan(config)
    assert [one.step for one in steps] == list(ORDER)
    assert str(steps[0]) == "crawl: will ask bing, baidu"
    assert all(one.needed for one in steps)
    assert not (tmp_path / "data").exists()


def test_a_crawl_ends_with_a_sheet_of_what_it_found(tmp_path: Path) -> None:
    config = write_config(tmp_path, "crawl: {engines: [sample], sample: {per_label: 4}, retries: 1, interval: 0}")
    events: list[str] = []
    run(config, until="crawl", progress=lambda event: events.append(event.text))
    sheet = tmp_path / "data" / "drawn" / "sheet.png"
    assert events[-1] == f"crawl: what was found: {sheet}"
    assert read_image(sheet).shape[0] == 4 * 96


def test_a_misspelt_network_is_told_before_the_first_step(config: Path) -> None:
    settings = load_config(config, ["train.network=compact_resnt"])
    with pytest.raises(UsageError, match="did you mean compact_resnet"):
        run(settings)
    assert not settings.unify.output.exists()
