"""Settings are read strictly, without side effects, and all problems are told at once."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from fer_pipeline.config.loader import MAX_BYTES, Problems, find_config, load_config, parse_override
from fer_pipeline.config.recipes import list_recipes
from fer_pipeline.config.schema import FOLDERS, Config, Preprocessing, UnifyConfig
from fer_pipeline.config.writer import write_config
from fer_pipeline.errors import UsageError
from fer_pipeline.report.environment import write_environment

RECIPES = sorted(list_recipes())


def load(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "test.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def problems_of(folder: Path, text: str, *overrides: str) -> list[str]:
    """The problems told, one a line, without the folder."""
    with pytest.raises(UsageError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# --- recipes, and where a configuration is looked for


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no configuration named by the environment."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FER_CONFIG", raising=False)
    return folder


def test_there_are_recipes_each_with_a_line_about_it() -> None:
    assert {"sample", "lips", "crops"} <= set(RECIPES)
    assert all(10 < len(about) < 90 for about in list_recipes().values())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_found_by_its_name_and_called_like_it(name: str, here: Path) -> None:
    assert find_config(name).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_what_init_writes_is_the_recipe_under_another_name(name: str, here: Path) -> None:
    write_config(name, "mine")
    made, recipe = find_config(), find_config(name, ["name=mine"])
    assert made == recipe
    text = (here / "fer.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "-c " not in "".join(line for line in text.splitlines() if line.startswith("#"))


@pytest.mark.parametrize("name", ["true", "null", "2024", "a: b", "嘴", "it's", '"', "~", "- x", "#1", "\\1"])
def test_a_name_that_yaml_would_misread_is_written_as_text(name: str, here: Path) -> None:
    if "\\" in name:
        with pytest.raises(UsageError, match="must be a plain name"):
            write_config("lips", name)
    else:
        write_config("lips", name)
        assert find_config().name == name


def test_init_replaces_a_file_only_by_force_and_never_in_place(here: Path) -> None:
    (here / "fer.yaml").write_text("name: old\n")
    (here / "backup.yaml").hardlink_to(here / "fer.yaml")
    with pytest.raises(UsageError, match=r"fer\.yaml: is there already"):
        write_config("lips", "mine")
    assert find_config().name == "old"
    write_config("lips", "mine", force=True)
    assert find_config().name == "mine"
    assert (here / "backup.yaml").read_text() == "name: old\n"


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", ""])
def test_init_refuses_a_name_that_is_no_folder_name(name: str, here: Path) -> None:
    with pytest.raises(UsageError, match="must be a plain name"):
        write_config("lips", name)
    assert not (here / "fer.yaml").exists()


def test_a_configuration_is_the_one_given_else_that_of_the_environment_else_of_the_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"fer\.yaml: no such file in this folder: .*`fer init"):
        find_config()
    (here / "fer.yaml").write_text("name: folder\n")
    assert find_config().name == "folder"
    (here / "other.yaml").write_text("name: environment\n")
    monkeypatch.setenv("FER_CONFIG", str(here / "other.yaml"))
    assert find_config().name == "environment"
    assert find_config("fer.yaml").name == find_config(here / "fer.yaml").name == "folder"
    assert find_config("lips", ["name=given"]).name == "given"


def test_a_file_comes_before_a_recipe_and_a_folder_does_not(here: Path) -> None:
    (here / "lips").mkdir()
    assert find_config("lips").crawl.keywords
    (here / "crops").write_text("name: file\n")
    assert find_config("crops").name == "file"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lipz", "lipz: neither a file nor a recipe: did you mean `lips`?"),
        ("Sample", "Sample: neither a file nor a recipe: did you mean `sample`?"),
        ("qqq", "qqq: neither a file nor a recipe: name a file, or one of the recipes classical, crops,"),
        ("lips.yaml", "lips.yaml: No such file or directory: name an existing YAML file or a recipe with --config"),
        ("x/lips", "x/lips: No such file or directory"),
    ],
)
def test_a_configuration_that_is_not_there_is_told_with_what_was_meant(given: str, said: str, here: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        find_config(given)


def test_recipes_are_installed_with_the_package() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "recipes/*.yaml" in project["tool"]["setuptools"]["package-data"]["fer_pipeline"]


def test_a_tilde_is_the_home_folder_wherever_a_path_may_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = (
        "name: a\ndata: ~/d\nruns: ~/r\ncrawl: {urls: {smile: ~/u.txt}, sample: {folder: ~/g}}\n"
        "filter: {weights: ~/f}\ncrop: {landmarks: ~/l}\ntrain: {weights: ~/w}"
    )
    config = load(tmp_path, text, "unify.input=~/photos")
    found = (
        config.crawl.output, config.train.output, config.crawl.urls["smile"], config.crawl.sample.folder,
        config.filter.weights, config.crop.landmarks, config.unify.input,
    )  # fmt: skip
    assert found == tuple(tmp_path / name for name in ("d/a/raw", "r/a", "u.txt", "g", "f", "l", "photos"))
    assert config.train.weights == str(tmp_path / "w")
    (problem,) = problems_of(tmp_path, "name: a\ndata: ~nobody-of-that-name/d\n", "train.weights=DEFAULT")[:1]
    assert "should begin with a home folder there is" in problem


# --- folders in one another


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["unify.output=data/a"], ("crawl.output", "unify.output")),
        (["data=out", "runs=out"], ("crawl.output", "train.output")),
        (["unify.output=data/a/unique"], ("unify.output", "dedupe.output")),
        (["crop.output=data/a/faces/crops"], ("crop.output", "filter.output")),
        (["train.output=data/a/split/run"], ("train.output", "split.output")),
        (["unify.input=photos", "unify.output=photos"], ("unify.output", "unify.input")),
        (["unify.input=photos", "unify.output=photos/small"], ("unify.output", "unify.input")),
        (["unify.input=photos", "crawl.sample.folder=photos"], ("crawl.sample.folder", "unify.input")),
        (["unify.input=photos", "crawl.sample.folder=photos/me"], ("crawl.sample.folder", "unify.input")),
        (["unify.input=link", "crawl.sample.folder=photos/me"], ("crawl.sample.folder", "unify.input")),
        (["train.input=photos", "train.output=link/run"], ("train.output", "train.input")),
        (["train.input=photos", "data=photos"], ("crawl.output", "train.input")),
        (["unify.output=x/../data/a/raw"], ("unify.output", "crawl.output")),
        (["train.output=."], ("train.output", "working folder")),
        (["train.output=.."], ("train.output", "working folder")),
        (["crawl.sample.folder=nowhere/.."], ("crawl.sample.folder", "working folder")),
    ],
)  # fmt: skip
def test_an_output_in_another_in_an_input_or_around_the_working_folder_is_refused_with_both_keys(
    overrides: list[str], keys: tuple[str, str], here: Path
) -> None:
    (here / "photos").mkdir()
    (here / "link").symlink_to("photos")
    problems = problems_of(here, "name: a\n", *overrides)
    assert all(any(key in problem for problem in problems) for key in keys), problems
    assert all(problem.startswith("--set ") for problem in problems), problems
    assert len(problems) == 1, problems


def test_outputs_side_by_side_and_inputs_of_other_experiments_are_fine(here: Path) -> None:
    config = load(here, "name: a\ncrop: {input: data/b/faces}\ntrain: {input: data/b/split}")
    assert config.train.output == Path("runs/a")
    load(here, "name: a\ncrawl: {engines: [sample]}\nunify: {input: photos}\ntrain: {input: data/a/split/train}")
    load(here, "name: a\ndata: ../out\nruns: ../out/runs")


def test_each_stage_reads_what_the_one_before_it_writes(tmp_path: Path) -> None:
    config = load(tmp_path, "name: lips\ndata: /d\nruns: /r")
    assert config.unify.input == config.crawl.output == Path("/d/lips/raw")
    assert config.dedupe.input == config.unify.output == Path("/d/lips/unified")
    assert config.filter.input == config.dedupe.output
    assert config.crop.input == config.filter.output
    assert config.split.input == config.crop.output
    assert (config.train.input, config.train.output) == (config.split.output, Path("/r/lips"))
    assert set(FOLDERS) | {"train"} <= set(Config.model_fields)


def test_a_folder_set_in_one_stage_is_read_by_the_next(tmp_path: Path) -> None:
    config = load(tmp_path, "name: a\nunify: {output: /elsewhere}\ncrop: {input: /other}")
    assert config.dedupe.input == Path("/elsewhere")
    assert config.crop.input == Path("/other")
    assert config.filter.output == Path("data/a/faces")


def test_loading_touches_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load(tmp_path, "name: a")
    assert [path.name for path in tmp_path.iterdir()] == ["test.yaml"]


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        UnifyConfig(input=Path("a"), output=Path("b")).quality = 50  # type: ignore[misc]


def test_an_unknown_key_is_told_with_file_line_and_the_nearest_known_one(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "name: a\ncrop:\n  size: 96\n  regoin: lips\n")
    assert problems == ["test.yaml:4: crop.regoin: unknown key, did you mean `region`?"]


def test_an_unknown_section_is_told(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "name: a\nfitler: {detector: hog}\n") == [
        "test.yaml:2: fitler: unknown key, did you mean `filter`?"
    ]


def test_an_unknown_key_like_no_other_names_those_there_are(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "name: a\nsplit: {qqqq: 1}\n")
    assert problem.startswith("test.yaml:2: split.qqqq: unknown key, remove it or use one of: ")
    assert "test_share" in problem


def test_an_unknown_key_of_a_nested_section_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "name: a\ncrawl:\n  sample:\n    per_lable: 8\n")
    assert problem == "test.yaml:4: crawl.sample.per_lable: unknown key, did you mean `per_label`?"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("crop: {size: big}", 'crop.size: should be a valid integer, not "big"'),
        ("crop: {size: 96.5}", "crop.size: .*integer.*, not 96.5"),
        ('crop: {size: "96"}', 'crop.size: should be a valid integer, not "96"'),
        ("crop: {align: yes}", 'crop.align: should be a valid boolean, not "yes"'),
        ("crop: {align: 1}", "crop.align: should be a valid boolean, not 1"),
        ("crop: {region: nose}", "crop.region: should be 'lips', 'face' or 'whole', not \"nose\""),
        ("crop: {size: 8}", "crop.size: should be greater than or equal to 16, not 8"),
        ("split: {test_share: 1.0}", "split.test_share: should be less than 1, not 1.0"),
        ("crawl: {engines: []}", "crawl.engines: .*at least 1 item"),
        ("crawl: {engines: [bing, gogle]}", "crawl.engines.1: should be .*, not \"gogle\""),
        ("crawl: {keywords: {../x: [a]}}", "crawl.keywords.../x: must be a plain name"),
        ("workers: 0x10", "workers: should be a valid integer"),
        ("workers: 010", "workers: should be a valid integer"),
        ("workers: 513", "workers: should be a valid integer from 0 to 512, or ray, not 513"),
        ("workers: true", "workers: should be a valid integer from 0 to 512, or ray, not true"),
        ("workers: rays", "workers: should be a valid integer from 0 to 512, or ray, not \"rays\""),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_and_never_bent_into_shape(tmp_path: Path, setting: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, f"name: a\n{setting}\n")
    assert re.match(f"test.yaml:2: {said}", problem), problem


@pytest.mark.parametrize("given", [0, 512, "ray"])
def test_workers_are_a_number_of_processes_or_a_cluster(tmp_path: Path, given: int | str) -> None:
    path = tmp_path / "test.yaml"
    path.write_text(f"name: a\nworkers: {given}\n")
    assert load_config(path).workers == given
    assert load_config(path, ["workers=ray"]).workers == "ray"


@pytest.mark.parametrize("section", ["crop: 3", "crop: [1, 2]", "crop: lips", "train: 7", "crawl: true"])
def test_a_section_that_is_no_mapping_is_told(tmp_path: Path, section: str) -> None:
    problems = problems_of(tmp_path, f"name: a\n{section}\n")
    assert problems[0].startswith(f"test.yaml:2: {section.partition(':')[0]}: ")


@pytest.mark.parametrize("number", ["1" * 5000, "1e999"])
def test_a_number_beyond_all_bounds_is_told(tmp_path: Path, number: str) -> None:
    (problem,) = problems_of(tmp_path, f"name: a\nfilter: {{threshold: {number}}}\n")
    assert problem.startswith("test.yaml:2: filter.threshold: ")
    assert len(problem) < 300


def test_yes_and_dates_and_times_are_text(tmp_path: Path) -> None:
    config = load(tmp_path, "name: 2024-01-01\ncrawl: {contact: yes, keywords: {on: [no, 12:30]}}")
    assert config.name == "2024-01-01"
    assert (config.crawl.contact, config.crawl.keywords) == ("yes", {"on": ("no", "12:30")})


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("1E-3", 0.001), ("0.5", 0.5), ("2e-1", 0.2)])
def test_a_number_with_an_exponent_is_a_number(tmp_path: Path, text: str, value: float) -> None:
    assert load(tmp_path, f"name: a\ntrain: {{learning_rate: {text}}}").train.learning_rate == value


def test_an_alias_is_refused_before_it_can_grow(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    (problem,) = problems_of(tmp_path, bomb)
    assert "aliases (*name) are not supported" in problem


def test_a_key_given_twice_is_told_at_the_second(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "name: a\ncrop:\n  size: 32\n  size: 64\n") == [
        "test.yaml:4: crop.size: given twice: remove one"
    ]


def test_all_problems_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "crop:\n  size: 3\n  colour: red\nsplit: {seed: -1}\nfoo: 1\n")
    keys = [(problem.split(": ")[0], problem.split(": ")[1]) for problem in problems]
    assert sorted(keys) == [
        ("test.yaml", "name"),
        ("test.yaml:2", "crop.size"),
        ("test.yaml:3", "crop.colour"),
        ("test.yaml:4", "split.seed"),
        ("test.yaml:5", "foo"),
    ]


def test_an_override_wins_over_the_file_and_the_last_over_the_first(tmp_path: Path) -> None:
    text = "name: a\ncrop: {size: 32}"
    config = load(tmp_path, text, "crop.size=64", "crop.margin=1.4", "crawl.sample.seed=3", "crop.size=48")
    assert (config.crop.size, config.crop.margin, config.crawl.sample.seed) == (48, 1.4, 3)


def test_an_override_can_hold_a_list_or_nothing(tmp_path: Path) -> None:
    config = load(tmp_path, "name: a\ncrop: {margin: 2}", "split.labels=[smile, pout]", "crop.margin=null")
    assert config.split.labels == ("smile", "pout")
    assert config.crop.margin is None


def test_an_override_of_the_data_folder_moves_every_stage(tmp_path: Path) -> None:
    assert load(tmp_path, "name: a", "data=/d").split.output == Path("/d/a/split")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("crop.size", "--set crop.size: write it as section.key=value"),
        ("=3", "--set =3: write it as section.key=value"),
        ("crop.size=[1", "--set crop.size=[1: the value is not valid YAML"),
        ("crop.size=*a", "--set crop.size=*a: the value is not valid YAML: aliases"),
        ("name.x=1", "--set name.x=1: `name` is no section"),
        ("crop.sise=96", "--set crop.sise=96: crop.sise: unknown key, did you mean `size`?"),
        ("crop.size=huge", '--set crop.size=huge: crop.size: should be a valid integer, not "huge"'),
        ("crop=3", "--set crop=3: crop: "),
        ("crop..size=3", "--set crop..size=3: crop.: unknown key"),
        ("workers=" + "9" * 5000, "--set workers="),
    ],
)
def test_a_wrong_override_is_told_by_what_was_typed(tmp_path: Path, override: str, said: str) -> None:
    assert problems_of(tmp_path, "name: a\ncrop: {region: lips}\n", override)[0].startswith(said)


def test_an_override_is_split_at_its_first_equals_sign() -> None:
    assert parse_override("crawl.contact=a=b") == (("crawl", "contact"), "a=b")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "3"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    assert "holds no `key: value` lines" in problems_of(tmp_path, text)[0]


def test_a_missing_file_and_a_folder_are_refused_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UsageError, match="name an existing YAML file"):
            load_config(path)


@pytest.mark.parametrize(
    "content", [b"name: [a\n", b"a: b: c\n", b"\xff\xfe\x00", b"name: a\n---\nname: b\n", b"\t- x"]
)
def test_broken_yaml_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "test.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not valid YAML") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_deep_nesting_and_huge_files_are_refused(tmp_path: Path) -> None:
    assert "nested deeper" in problems_of(tmp_path, "name: " + "[" * 50 + "]" * 50)[0]
    assert "not valid YAML" in problems_of(tmp_path, "name: " + "[" * 20_000)[0]
    assert "larger than" in problems_of(tmp_path, "#" * (MAX_BYTES + 1))[0]


def test_a_python_tag_builds_no_object(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "name: !!python/object/apply:os.getcwd []\n")
    assert problem == "test.yaml:1: name: should be a valid string, not []"


def test_problems_are_a_usage_error_of_one_line_each() -> None:
    assert str(Problems.of(["a", "b"])) == "a\nb"
    assert Problems.exit_code == 2


def test_every_setting_is_described() -> None:
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for key, setting in section.model_fields.items():
                assert setting.description, f"{name}.{key}"


def test_preprocessing_survives_json() -> None:
    preprocessing = Preprocessing()
    assert Preprocessing.model_validate_json(json.dumps(preprocessing.model_dump(mode="json"))) == preprocessing


@pytest.mark.parametrize("place", ["/etc/passwd", "../list.txt", "link.txt", "~/list.txt"])
def test_a_list_of_urls_lies_beside_the_configuration_or_below_the_working_folder(here: Path, place: str) -> None:
    """A stranger's configuration must not name a file of ours and send its lines away."""
    mine = here.parent / "elsewhere"
    mine.mkdir()
    (mine / "link.txt").symlink_to("/etc/passwd")
    text = f"name: x\ncrawl:\n  urls:\n    smile: {mine / place if place == 'link.txt' else place}\n"
    (problem,) = problems_of(mine, text)
    assert problem.startswith("test.yaml:4: crawl.urls.smile: ")
    assert "lies neither beside test.yaml nor in the working folder" in problem
    for good in (mine / "list.txt", Path("lists/smile.txt")):
        assert load(mine, f"name: x\ncrawl: {{urls: {{smile: {good}}}}}").crawl.urls["smile"] == good


def test_lines_of_a_list_have_no_base_address_to_be_sent_to(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "name: x\ncrawl:\n  base: {urls: http://host/}\n")
    assert problem.startswith("test.yaml:3: crawl.base: has no engine `urls`")


def test_a_key_is_written_nowhere(tmp_path: Path) -> None:
    config = load(tmp_path, "name: x\ncrawl: {flickr_key: s3cret}")
    assert config.crawl.flickr_key == "s3cret"
    write_environment(tmp_path, config)
    for written in (config.model_dump_json(), repr(config), (tmp_path / "config.json").read_text()):
        assert "s3cret" not in written
