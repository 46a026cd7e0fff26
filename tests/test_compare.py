"""Promises of `fer_pipeline.evaluation.compare`."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from fer_pipeline.__main__ import main
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.compare import compare_runs, write_differences


def write_run(folder: Path, guesses: str, labels: str, groups: list[str] | None = None) -> Path:
    """A `predictions.csv` of one letter an image."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "predicted", "group"])
        for index, (label, guess) in enumerate(zip(labels, guesses, strict=True)):
            writer.writerow([f"test/{label}/{index:04}.png", label, guess, groups[index] if groups else ""])
    return folder


LABELS = "ab" * 100


def wrong(*places: int) -> str:
    return "".join("c" if index in places else label for index, label in enumerate(LABELS))


def test_the_p_value_is_the_binomial_of_the_images_only_one_has_right(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "a", wrong(*range(12)), LABELS), write_run(tmp_path / "b", wrong(0, 1, 50), LABELS)
    result = compare_runs(one, two)
    assert result.only == (1, 10)
    assert result.p == pytest.approx(2 * binom.cdf(1, 11, 0.5))
    assert result.accuracy[0] == pytest.approx(9 / 200)
    assert 0 < result.accuracy[1] < 9 / 200 < result.accuracy[2]
    assert result.verdict.startswith("B is better by 4.5 points of accuracy (")
    assert compare_runs(two, one).verdict.startswith("A is better by 4.5 points of accuracy (")


def test_the_same_answers_show_no_difference(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", wrong(3), LABELS)
    result = compare_runs(run, run / "predictions.csv")
    assert (result.p, result.only, result.accuracy, result.macro_f1) == (1, (0, 0), (0, 0, 0), (0, 0, 0))
    assert result.verdict.startswith("no difference in accuracy that 200 images could show")


def test_few_images_show_nothing(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "a", "aacc", "aabb"), write_run(tmp_path / "b", "aabc", "aabb")
    assert "no difference in accuracy that 4 images could show" in compare_runs(one, two).verdict


def test_where_test_and_interval_disagree_the_verdict_says_so(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "a", wrong(*range(5)), LABELS), write_run(tmp_path / "b", LABELS, LABELS)
    result = compare_runs(one, two)
    assert result.p > 0.05
    assert result.accuracy[1] > 0
    assert result.verdict.startswith("a difference in accuracy that is not certain: B less A is +2.5 points")


def test_images_of_one_group_count_as_one(tmp_path: Path) -> None:
    """Ten photos of one person are no ten proofs."""
    groups = ["one person" if index < 10 else str(index) for index in range(200)]
    plain = compare_runs(
        write_run(tmp_path / "a", wrong(*range(10)), LABELS), write_run(tmp_path / "b", LABELS, LABELS)
    )
    grouped = compare_runs(
        write_run(tmp_path / "c", wrong(*range(10)), LABELS, groups), write_run(tmp_path / "d", LABELS, LABELS, groups)
    )
    assert (plain.groups, grouped.groups) == (200, 191)
    assert np.ptp(grouped.accuracy[1:]) > 1.5 * np.ptp(plain.accuracy[1:])
    assert plain.verdict.startswith("B is better")
    assert grouped.verdict.startswith("no difference"), "the interval reaches zero, whatever the p-value says"


def test_only_shared_images_count_and_the_rest_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_run(tmp_path / "a", LABELS, LABELS), write_run(tmp_path / "b", LABELS[:60], LABELS[:60])
    assert main(["compare", str(one), str(two)]) == 0
    told = capsys.readouterr().out
    assert "140 images of A and 0 of B are not shared" in told
    assert "60 images" in told


def test_the_images_on_which_they_differ_are_listed(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "a", "abc", "aab"), write_run(tmp_path / "b", "aaa", "aab")
    assert main(["-q", "compare", str(one), str(two), "--out", str(tmp_path / "new" / "d.csv")]) == 0
    with (tmp_path / "new" / "d.csv").open(newline="") as file:
        assert [(line["path"], line["right"]) for line in csv.DictReader(file)] == [
            ("test/a/0001.png", "B"),
            ("test/b/0002.png", "neither"),
        ]
    assert write_differences(tmp_path / "none.csv", compare_runs(one, one)) == 0


def test_labels_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", "ab", "ab")
    (tmp_path / "b.csv").write_text("path,label,predicted\ntest/a/0000.png,b,b\n")
    with pytest.raises(
        InputError, match=r"test/a/0000\.png is 'a' in .* and 'b' in .*: evaluate both on the same data"
    ):
        compare_runs(one, tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no column 'label'"),
        (b"path,label\na,b\n", "has no column 'predicted'"),
        (b"path,label,predicted\n", "holds no prediction"),
        (b"path,label,predicted\na\n", r":2: path, label or predicted is empty"),
        (b"path,label,predicted\na,b,c\na,b,c\n", r":3: a is listed twice"),
        (b"\xff\xfe\x00path", "cannot be read"),
        (b"path,label,predicted\n" + b"x" * 200_000 + b",a,b\n", "cannot be read"),
        (b"path,label,predicted\nelsewhere,a,b\n", "no image in common"),
    ],
)
def test_a_file_that_holds_no_predictions_is_told_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    good = write_run(tmp_path / "a", "ab", "ab")
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        compare_runs(good, tmp_path / "bad.csv")
    assert "\n" not in str(caught.value)


def test_a_run_that_was_not_measured_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `fer eval` first"):
        compare_runs(write_run(tmp_path / "a", "ab", "ab"), tmp_path)
