"""The journal survives what kills its writer."""

from pathlib import Path

import pytest
from support.pictures import list_files

from fer_pipeline.dataset.journal import JOURNAL, Journal, existing_rows
from fer_pipeline.dataset.rows import MANIFEST, Row, read_rows, write_rows
from fer_pipeline.errors import InputError, SetupError

ITEMS = ("b", "a", "c")


def fill(folder: Path, items: tuple[str, ...] = ITEMS) -> bytes:
    with Journal(folder) as journal:
        for item in items:
            journal.append(item, [Row(path=f"{item}.jpg"), Row(path=f"{item}-2.jpg")])
    return (folder / JOURNAL).read_bytes()


def test_what_was_appended_is_there_for_the_next_process(tmp_path: Path) -> None:
    fill(tmp_path)
    with Journal(tmp_path) as journal:
        assert [entry.item for entry in journal.entries()] == ["b", "a", "c"]
        assert [row.path for row in journal.rows()] == [f"{item}{end}.jpg" for item in ITEMS for end in ("-2", "")]


def test_a_last_line_torn_at_any_byte_is_cut_off_and_costs_only_its_item(tmp_path: Path) -> None:
    whole = fill(tmp_path)
    two = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for length in range(two, len(whole)):
        (tmp_path / JOURNAL).write_bytes(whole[:length])
        with Journal(tmp_path) as journal:
            assert [entry.item for entry in journal.entries()] == ["b", "a"]
            journal.append("c", [Row(path="c.jpg"), Row(path="c-2.jpg")])
        assert (tmp_path / JOURNAL).read_bytes() == whole


def test_a_backup_of_hard_links_keeps_what_it_holds(tmp_path: Path) -> None:
    whole = fill(tmp_path / "made")
    backup = tmp_path / "backup.jsonl"
    backup.hardlink_to(tmp_path / "made" / JOURNAL)
    fill(tmp_path / "made", ("d",))
    assert backup.read_bytes() == whole


def test_who_only_reads_a_journal_cuts_nothing_off(tmp_path: Path) -> None:
    torn = fill(tmp_path)[:-1]
    (tmp_path / JOURNAL).write_bytes(torn)
    assert [entry.item for entry in Journal(tmp_path).entries()] == ["b", "a"]
    assert (tmp_path / JOURNAL).read_bytes() == torn


def test_a_folder_without_journal_has_no_entries(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert list(journal.entries()) == []


def test_finishing_writes_the_manifest_and_drops_the_journal(tmp_path: Path) -> None:
    fill(tmp_path)
    with Journal(tmp_path) as journal:
        journal.finish(list(journal.rows()))
    assert list(list_files(tmp_path)) == [MANIFEST]
    assert len(read_rows(tmp_path)) == 6


def test_compacting_keeps_some_lines_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path)
    with Journal(tmp_path) as journal:
        entries = {entry.item: entry for entry in journal.entries()}
        wanted = [journal.rows_at(entries[item]) for item in ("c", "b")]
        journal.compact([entries["c"], entries["b"]])
        assert [entry.item for entry in journal.entries()] == ["c", "b"]
        assert [journal.rows_at(entry) for entry in journal.entries()] == wanted


def test_one_process_holds_the_folder_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(InputError, match="another fer command is writing here"), Journal(tmp_path):
        raise AssertionError("two journals were open at once")
    with Journal(tmp_path):  # and the lock goes with its holder
        pass


def test_a_folder_that_cannot_be_made_is_a_lack_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match="cannot write"), Journal(tmp_path / "file" / "folder"):
        raise AssertionError("the journal opened")


def test_names_of_any_alphabet_come_back(tmp_path: Path) -> None:
    fill(tmp_path, ('微笑/"a"\n',))
    with Journal(tmp_path) as journal:
        assert [entry.item for entry in journal.entries()] == ['微笑/"a"\n']


def test_a_new_folder_has_no_rows_yet_and_a_finished_one_has_them(tmp_path: Path) -> None:
    assert existing_rows(tmp_path / "new") == []
    write_rows(tmp_path, [Row(path="a.jpg")])
    assert existing_rows(tmp_path) == [Row(path="a.jpg")]


DAMAGED = ['{"item": "d", "rows": 3}', '"d"', "[" * 100_000, '{"item": ["d"], "rows": []}', "\0\0"]


@pytest.mark.parametrize(
    ("line", "place"), [*(('{"item": "d"}', place) for place in (0, 1, 3)), *((one, 1) for one in DAMAGED)]
)
def test_a_damaged_line_is_reported_and_takes_no_other_along(
    tmp_path: Path, line: str, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = fill(tmp_path).splitlines(keepends=True)
    lines.insert(place, line.encode() + b"\n")
    (tmp_path / JOURNAL).write_bytes(b"".join(lines))
    with Journal(tmp_path) as journal:
        assert [entry.item for entry in journal.entries()] == ["b", "a", "c"]
        assert len(list(journal.rows())) == 6
    assert (tmp_path / JOURNAL).read_bytes() == b"".join(lines)
    assert f"{JOURNAL}:{place + 1}: damaged" in capsys.readouterr().err
