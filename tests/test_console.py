"""Results go to stdout, notes and progress to stderr, and quiet is quiet."""

from collections.abc import Iterator

import pytest
from rich.table import Table

from fer_pipeline import console
from fer_pipeline.__main__ import main


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The usual level afterwards."""
    yield
    console.set_level()


def test_notes_go_to_stderr_and_square_brackets_stay(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("[bold]kept 3 of 4[/bold]")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "[bold]kept 3 of 4[/bold]\n")


def test_a_name_that_looks_like_markup_or_an_emoji_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]:smile:[/red] [/]"
    table = Table(name, box=None)
    table.add_row(name)
    console.out.print(table)
    console.out.print(name)
    with console.progress(name, 1) as advance:
        advance(1)
    captured = capsys.readouterr()
    assert [line.strip() for line in captured.out.splitlines()] == [name] * 3
    assert captured.err == f"{name}: 1 of 1\n"


def test_quiet_says_nothing_and_verbose_says_more(capsys: pytest.CaptureFixture[str]) -> None:
    console.detail("not yet")
    console.set_level(quiet=True)
    console.note("hush")
    console.set_level(verbose=True)
    console.detail("more")
    assert capsys.readouterr().err == "more\n"


@pytest.mark.parametrize(("total", "lines"), [(8, 4), (3, 3), (1000, 4)])
def test_without_a_terminal_progress_is_a_few_plain_lines(
    capsys: pytest.CaptureFixture[str], total: int, lines: int
) -> None:
    with console.progress("crop", total) as advance:
        for _ in range(total):
            advance(1)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert told[-1] == f"crop: {total:,} of {total:,}"


def test_progress_without_a_known_end_counts_thousands(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("import", None) as advance:
        advance(999)
        advance(2)
    assert capsys.readouterr().err == "import: 1,001\n"


def test_what_a_terminal_would_obey_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;mine\x07\x9b2J\r\u202egpj.\udcff [/old]"
    table = Table(name)
    table.add_row(name)
    for text in (name, table):
        console.out.print(text)
    console.note(name)
    assert main(["show", name]) != 0
    captured = capsys.readouterr()
    seen = r"\u001b]0;mine\u0007\u009b2J\u000d\u202egpj.\udcff [/old]"
    assert (captured.out.count(seen), captured.err.count(seen)) == (3, 2)
    assert not set(captured.out + captured.err) & set("\x1b\x07\x9b\r\u202e\udcff")
