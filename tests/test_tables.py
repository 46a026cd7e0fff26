"""Tables for spreadsheets: what a stranger called a class is text there, and is read back as it was."""

import csv
import io
from pathlib import Path

import pytest

from fer_pipeline.dataset.decisions import Decision, parse_decisions, to_line
from fer_pipeline.files import TableReader, from_cell, to_cell, write_csv

LIVE = ["=HYPERLINK(1)", "+1+cmd", "-2+3", "@SUM(1)", "\tx", "\rx", "'=x", "''@x"]
PLAIN = ["smile", "'quoted'", "", "a=b", "-0.5", "+1e-3", "-7", "'"]


@pytest.mark.parametrize("text", [*LIVE, *PLAIN])
def test_a_cell_is_text_to_a_spreadsheet_and_is_read_back(text: str) -> None:
    cell = to_cell(text)
    assert (cell == text) == (text in PLAIN)
    assert from_cell(cell) == text


def test_numbers_and_nothing_stay_as_they_are() -> None:
    assert [to_cell(value) for value in (-0.5, -1, None, True)] == [-0.5, -1, None, True]


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, ["path", "=label"], [[f"{text}/1.png", text] for text in LIVE])
    with path.open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r")]
    with path.open(newline="") as file:
        assert [row["path"] for row in TableReader(file)] == [f"{text}/1.png" for text in LIVE]


def test_a_decision_on_a_class_that_looks_like_a_formula_is_read_back() -> None:
    decision = Decision("=1+1/a.png", "move", "@x", by="-me+you")
    line = to_line(decision)
    assert next(csv.reader(io.StringIO(line.decode())))[1:] == ["'=1+1/a.png", "move", "'@x", "", "'-me+you"]
    (read,) = parse_decisions(b"time,path,action,label,box,by\n" + line, "x")
    assert read._replace(line=0) == decision
