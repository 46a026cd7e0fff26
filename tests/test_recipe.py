"""A folder knows how it was made; see test_runner for what is refused."""

import json
from pathlib import Path

import pytest
from pictures import make_noise_folder

from fer_pipeline.config import UnifyConfig
from fer_pipeline.errors import InputError
from fer_pipeline.manifest import MANIFEST, hash_file
from fer_pipeline.recipe import RECIPE, check_recipe, make_recipe, read_recipe, settings_of, start_over


@pytest.fixture
def config(tmp_path: Path) -> UnifyConfig:
    (tmp_path / "out").mkdir()
    return UnifyConfig(input=make_noise_folder(tmp_path / "in", 1), output=tmp_path / "out")


def test_a_recipe_holds_settings_and_the_hash_of_the_input_but_no_folder(config: UnifyConfig) -> None:
    recipe = make_recipe("unify", config)
    assert recipe["input"] == hash_file(config.input / MANIFEST)
    assert recipe["settings"]["quality"] == 95
    assert not {"input", "output"} & set(recipe["settings"])


def test_a_new_folder_is_given_its_recipe_and_the_same_recipe_is_taken_again(config: UnifyConfig) -> None:
    recipe = make_recipe("unify", config)
    for _ in "twice":
        check_recipe(config.output, recipe)
    assert read_recipe(config.output) == json.loads(json.dumps(recipe))


@pytest.mark.parametrize("text", ["{", "\x00", '{"stage": '])
def test_an_unreadable_recipe_is_refused_in_one_line(config: UnifyConfig, text: str) -> None:
    (config.output / RECIPE).write_text(text)
    with pytest.raises(InputError, match=r"recipe.json: unreadable") as caught:
        check_recipe(config.output, make_recipe("unify", config))
    assert "\n" not in str(caught.value)


def test_starting_over_empties_only_a_folder_of_the_stage(config: UnifyConfig, tmp_path: Path) -> None:
    outside = tmp_path / "dear.txt"
    outside.write_text("dear")
    check_recipe(config.output, make_recipe("unify", config))
    (config.output / "a").mkdir()
    (config.output / "link").symlink_to(config.input)
    (config.output / "file").symlink_to(outside)
    start_over(config.output, "crop")
    assert (config.output / "a").exists()
    start_over(config.output, "unify")
    assert list(config.output.iterdir()) == []
    assert outside.read_text() == "dear"
    assert (config.input / MANIFEST).is_file()


def test_a_recipe_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / RECIPE).write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"recipe.json: unreadable .* delete the folder"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("text", ['{"stage": "crop"}', '{"stage": "crop", "settings": 3}', '{"upstream": [1]}', "[]"])
def test_a_recipe_that_tells_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RECIPE).write_text(text)
    assert settings_of(tmp_path, "crop") is None
