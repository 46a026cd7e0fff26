"""Promises of `fer_pipeline.report.data_page` and what it is made of."""

import shutil
from pathlib import Path

import pytest
from support.drawn import write_config, write_png
from support.pagecheck import check_page, sections_of, text_of
from support.pictures import draw_noise, make_folder

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.rows import Row, read_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.report.data_page import write_data_page
from fer_pipeline.report.funnel import places_below
from fer_pipeline.sources.sample.junk import to_jpeg

HOSTILE = "<img src=x onerror=alert(1)>"
SMILE = "微笑"
SECTIONS = ["funnel", "classes", "sources", "samples", "sizes", "dropped", "copies", "groups"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose stages have dropped images for several reasons, and its page as `fer run` wrote it."""
    folder = tmp_path_factory.mktemp("data")
    photos = folder / "photos"
    for place, label in enumerate((HOSTILE, SMILE)):
        for number in range(6):
            write_png(photos / label / f"{number}.png", draw_noise(10 * place + number, 60 + number, 64))
    write_png(photos / SMILE / "tiny.png", draw_noise(30, 12, 12))
    (photos / SMILE / "copy.jpg").write_bytes(to_jpeg(draw_noise(10, 60, 64), 95))
    (photos / SMILE / "torn.jpg").write_bytes(to_jpeg(draw_noise(31, 200, 200), 95)[:3000])
    (photos / SMILE / "note.txt").write_text("<script>alert(2)</script>")
    (photos / HOSTILE / "same.jpg").write_bytes(to_jpeg(draw_noise(32, 64, 64), 95))
    (photos / SMILE / "same.jpg").write_bytes(to_jpeg(draw_noise(32, 64, 64), 90))
    assert main(["-q", "import", "folder", str(photos), "-o", str(folder / "data" / "drawn" / "raw")]) == 0
    whole = "filter: {detector: none}\ncrop: {region: whole, size: 32}\nsplit: {test_share: 0.3}\n"
    config = write_config(folder, f"workers: 1\ndedupe: {{distance: 2, group_distance: 2}}\n{whole}")
    assert main(["-q", "run", "-c", str(config), "--until", "split"]) == 0
    return folder / "data" / "drawn"


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """A copy of the data folder that a test may spoil."""
    return Path(shutil.copytree(home, tmp_path / "drawn"))


def test_the_page_has_every_section_and_stands_alone(home: Path) -> None:
    assert sections_of(check_page(home / "report.html")) == SECTIONS


def test_hostile_labels_are_text_and_chinese_ones_readable(home: Path) -> None:
    page = check_page(home / "report.html")
    assert HOSTILE in text_of(page)
    assert SMILE in text_of(page)
    assert not page.xpath("//img[@src='x']")


def test_every_reason_is_told_and_shown_where_there_is_a_file(home: Path) -> None:
    (dropped,) = check_page(home / "report.html").xpath("//section[@id='dropped']")
    told = " ".join(dropped.text_content().split())
    for reason in ("crawl: not_an_image 1 image", "unify: too_small 1 image", "unify: truncated 1 image"):
        assert reason in told
    assert "note.txt" in told
    assert len(dropped.xpath(".//img")) == 1, "the tiny one; the torn one is told in words"


def test_copies_stand_side_by_side(home: Path) -> None:
    (copies,) = check_page(home / "report.html").xpath("//section[@id='copies']")
    told = " ".join(copies.text_content().split())
    assert "2 alike" in told
    assert "2 under different labels" in told
    assert len(copies.xpath(".//img")) == 4


def test_classes_are_counted_in_every_stage_and_part(home: Path) -> None:
    (table,) = check_page(home / "report.html").xpath("//section[@id='classes']//table")
    head = [cell.text_content() for cell in table.xpath(".//thead//th")]
    assert head == ["class", "raw", "unified", "unique", "faces", "crops", "split", "train", "test"]
    rows = {row[0].text_content(): [int(cell.text_content()) for cell in row[1:]] for row in table.xpath(".//tbody/tr")}
    kept = [row for row in read_rows(home / "split") if row.label == SMILE]
    assert rows[SMILE][-3:] == [len(kept), *(sum(row.split == part for row in kept) for part in ("train", "test"))]
    assert rows["all"][-3] == rows[SMILE][-3] + rows[HOSTILE][-3]


def test_the_same_folder_gives_the_same_bytes(home: Path) -> None:
    before = (home / "report.html").read_bytes()
    write_data_page(home, places_below(home))
    assert (home / "report.html").read_bytes() == before


def test_missing_stages_and_files_are_told_in_words(copy: Path) -> None:
    for name in ("unified", "crops", "split"):
        shutil.rmtree(copy / name)
    for path in sorted((copy / "faces").rglob("*.jpg"))[:3]:
        path.write_bytes(b"rubbish")
    page = check_page(write_data_page(copy, places_below(copy)))
    assert sections_of(page) == SECTIONS
    assert text_of(page).count(": unreadable") == 3
    assert "no such file" in text_of(page), "what was dropped from the folder that is gone"


def test_a_class_of_one_source_is_a_warning(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    make_folder(raw, {f"{label}/{number}.jpg": draw_noise(number) for label in "ab" for number in range(2)})
    sources = {"a": ("bing", "baidu"), "b": ("bing", "bing")}
    rows = [row.replace(source={"engine": sources[str(row.label)][int(row.path[2])]}) for row in read_rows(raw)]
    write_rows(raw, rows)
    told = text_of(check_page(write_data_page(tmp_path, places_below(tmp_path))))
    assert "Every image of b comes from bing" in told
    assert "Every image of a" not in told


def test_a_stale_stage_is_a_warning(copy: Path) -> None:
    rows = read_rows(copy / "faces")
    write_rows(copy / "faces", rows[1:])
    assert "crops was made from another state of its input folder" in text_of(
        check_page(write_data_page(copy, places_below(copy)))
    )


def test_mangled_facts_cost_a_figure_not_the_page(copy: Path) -> None:
    bad = {"width": "wide", "faces": [[None, 1]], "square": {"a": 1}, "copy_of": ["x"]}
    write_rows(copy / "split", [row.replace(attributes=bad) for row in read_rows(copy / "split")])
    check_page(write_data_page(copy, places_below(copy)))


def test_many_images_and_classes_make_a_page_of_bounded_size(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", {f"a/{number}.jpg": draw_noise(number, 240, 240) for number in range(40)})
    rows = [
        Row(path=f"a/{number % 40}.jpg", label=f"class {number % 150}", source={"name": f"source {number % 30}"})
        for number in range(6000)
    ]
    write_rows(raw, rows)
    page = write_data_page(tmp_path, places_below(tmp_path))
    check_page(page)
    assert page.stat().st_size < 3_000_000


def test_only_addresses_of_the_web_become_links(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "raw", {f"a/{number}.jpg": draw_noise(number) for number in range(3)})
    addresses = ("javascript:alert(1)", 'https://a.example/"><script>', "http://[broken")
    rows = zip(read_rows(raw), addresses, strict=True)
    write_rows(raw, [row.replace(source={"url": url, "engine": "bing"}) for row, url in rows])
    page = check_page(write_data_page(tmp_path, places_below(tmp_path)))
    assert page.xpath("//main//a/@href") == ['https://a.example/"><script>']


def test_a_folder_without_stages_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `fer crawl` or `fer import` first"):
        write_data_page(tmp_path, places_below(tmp_path))
