"""The embedded gallery on loopback: pages like a search engine's, a dead link and a silent server."""

import json
import threading
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests
from support.loopback import Web, picture, settings

from fer_pipeline.config.schema import SampleConfig
from fer_pipeline.dataset.rows import Row, read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.crawl.local_gallery import DATE, lay_out, read_index, serve_gallery


def draw(folder: Path, per_label: int = 3) -> Path:
    """A gallery of two classes, with a name that needs quoting and a page that is no picture."""
    records = []
    for seed in range(2 * per_label):
        label = "big smile" if seed % 2 else "pout"
        file = f"{label}/{seed:03d}.{'jpg' if seed % 3 else 'png'}"
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(picture(seed, "PNG" if file.endswith("png") else "JPEG"))
        records.append({"file": file, "label": label, "kind": "photo"})
    (folder / "pout" / "page.jpg").write_text("<html>gone</html>")
    records.append({"file": "pout/page.jpg", "label": "pout", "kind": "html"})
    (folder / "index.json").write_text(json.dumps(records))
    return folder


def rows_of(folder: Path, gallery: Path, **changes: Any) -> list[Row]:
    crawl(settings(folder, engines=("sample",), sample=SampleConfig(folder=gallery), **{"timeout": 3, **changes}))
    return read_rows(folder / "raw")


def test_pictures_are_served_with_their_type_and_a_fixed_date(tmp_path: Path) -> None:
    with serve_gallery(draw(tmp_path)) as url:
        answer = requests.get(f"{url}/big%20smile/001.jpg", timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"], answer.headers["Date"]) == (200, "image/jpeg", DATE)
        assert answer.content == picture(1, "JPEG")
        assert requests.get(f"{url}/gone.jpg", timeout=30).status_code == 404
        assert requests.get(f"{url}/index.json", timeout=30).status_code == 404
        assert requests.get(f"{url}/%2e%2e/%2e%2e/etc/passwd", timeout=30).status_code == 404


def test_pages_hold_twenty_pictures_and_the_last_one_none() -> None:
    pages = lay_out({"a": [f"a/{number}.png" for number in range(40)], "b": []})
    assert [page.count(b"<img") for page in pages.values()] == [20, 20, 2, 0, 0]
    assert list(pages)[:2] == ["/a/page-1.html", "/a/page-2.html"]


def test_a_crawl_of_the_gallery_brings_every_file_and_what_every_crawl_meets(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, draw(tmp_path / "gallery", 25))
    urls = {row.source["url"]: (row.label, row.reason) for row in rows}
    listed = {
        f"http://sample.invalid/{file}".replace(" ", "%20"): (label, "")
        for label, files in read_index(tmp_path / "gallery").items()
        for file in files
    }
    assert len(listed) == 51
    assert urls == listed | {
        "http://sample.invalid/pout/page.jpg": ("pout", "not_an_image"),
        "http://sample.invalid/gone.jpg": ("big smile", "http_404"),
        "http://sample.invalid/slow.jpg": ("big smile", "timeout"),
    }
    assert {row.source["time"] for row in rows if row.reason != "timeout"} == {"2026-01-01T00:00:00+00:00"}


def test_the_rows_are_the_same_each_time_whatever_the_port(tmp_path: Path) -> None:
    gallery = draw(tmp_path / "gallery", 15)
    words = {"pout": ("x",)}  # the class without the silent server, whose row bears the time of our own clock
    first = rows_of(tmp_path / "a", gallery, keywords=words, threads=1)
    assert rows_of(tmp_path / "b", gallery, keywords=words, threads=7) == first
    assert len(first) == 16


def test_only_the_classes_of_the_keywords_are_crawled(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, draw(tmp_path / "gallery"), keywords={"pout": ("pouting",)})
    assert {row.label for row in rows} == {"pout"}


def test_the_gallery_is_asked_without_pauses_and_past_any_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Web() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        rows = rows_of(tmp_path, draw(tmp_path / "gallery"), interval=3600, keywords={"pout": ("x",)})
        assert (len(rows), proxy.asked) == (4, [])


def test_another_base_address_is_asked_in_place_of_the_gallery(tmp_path: Path) -> None:
    with serve_gallery(draw(tmp_path / "gallery")) as url:
        base, words = {"sample": url}, {"pout": ("x",)}
        crawl(settings(tmp_path, engines=("sample",), base=base, keywords=words))
    assert {row.source["url"].rpartition("/")[0] for row in read_rows(tmp_path / "raw")} == {
        "http://sample.invalid/pout"
    }


def test_nothing_of_the_server_is_left_and_nothing_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with serve_gallery(draw(tmp_path)) as url, pytest.raises(requests.Timeout):
        requests.get(f"{url}/slow.jpg", timeout=0.2)
    assert set(threading.enumerate()) == before
    assert capfd.readouterr() == ("", "")
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=30)


@pytest.mark.parametrize("index", ["", "{", "[7]", '[{"file": "a.png"}]', "null"])
def test_a_damaged_index_is_named_with_a_remedy(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(InputError, match="remove the folder"):
        read_index(tmp_path)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "index.json").write_text('[{"file": "../secret.txt", "label": "a"}]')
    with serve_gallery(tmp_path / "gallery") as url, closing(HTTPConnection(url.removeprefix("http://"))) as client:
        client.request("GET", "/../secret.txt")  # requests would tidy the path
        with client.getresponse() as answer:
            assert answer.status == 404


@pytest.mark.slow
def test_a_missing_gallery_is_drawn_first(tmp_path: Path) -> None:
    config = settings(tmp_path, engines=("sample",), sample=SampleConfig(per_label=4), keywords={"pout": ("x",)})
    assert crawl(config).kept >= 4
    assert (tmp_path / "gallery" / "index.json").is_file()
