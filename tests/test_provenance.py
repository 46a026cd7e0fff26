"""A folder knows how it was made; see test_runner for what is refused."""

import json
from pathlib import Path

import pytest
from support.pictures import make_noise_folder

from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.dataset.provenance import (
    PROVENANCE,
    check_provenance,
    make_provenance,
    read_provenance,
    settings_of,
    start_over,
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


def test_a_new_folder_is_given_its_provenance_and_the_same_provenance_is_taken_again(config: UnifyConfig) -> None:
    provenance = make_provenance("unify", config)
    for _ in "twice":
        check_provenance(config.output, provenance)
    assert read_provenance(config.output) == json.loads(json.dumps(provenance))


@pytest.mark.parametrize("text", ["{", "\x00", '{"stage": '])
def test_an_unreadable_provenance_is_refused_in_one_line(config: UnifyConfig, text: str) -> None:
    (config.output / PROVENANCE).write_text(text)
    with pytest.raises(InputError, match=r"provenance.json: unreadable") as caught:
        check_provenance(config.output, make_provenance("unify", config))
    assert "\n" not in str(caught.value)


def test_starting_over_empties_only_a_folder_of_the_stage(config: UnifyConfig, tmp_path: Path) -> None:
    outside = tmp_path / "dear.txt"
    outside.write_text("dear")
    check_provenance(config.output, make_provenance("unify", config))
    (config.output / "a").mkdir()
    (config.output / "link").symlink_to(config.input)
    (config.output / "file").symlink_to(outside)
    start_over(config.output, "crop")
    assert (config.output / "a").exists()
    start_over(config.output, "unify")
    assert list(config.output.iterdir()) == []
    assert outside.read_text() == "dear"
    assert (config.input / MANIFEST).is_file()


def test_a_provenance_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / PROVENANCE).write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"provenance.json: unreadable .* delete the folder"):
        read_provenance(tmp_path)


@pytest.mark.parametrize("text", ['{"stage": "crop"}', '{"stage": "crop", "settings": 3}', '{"upstream": [1]}', "[]"])
def test_a_provenance_that_tells_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVENANCE).write_text(text)
    assert settings_of(tmp_path, "crop") is None
