"""What a crawl promises: every result ends in a row, nothing is fetched twice, and a killed crawl goes on."""

import gzip
import hashlib
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.loopback import SILENCE, TIME, Reply, Script, Web, listed, picture, settings

from fer_pipeline.dataset.journal import JOURNAL
from fer_pipeline.dataset.provenance import locked_raw, write_provenance
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, read_rows, write_rows
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.files import hash_file
from fer_pipeline.sources.crawl.client import Answer
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.crawl.host_queue import HostQueue, Task
from fer_pipeline.sources.crawl.host_stats import HOST_STATS
from fer_pipeline.sources.crawl.ledger import Ledger, Origin, name_problem
from fer_pipeline.vision.image_io import FORMATS, sniff_suffix
from fer_pipeline.vision.signatures import sniff_signature

CRAWL = "import sys; from fer_pipeline.sources.crawl.crawler import crawl; "
CRAWL += "from fer_pipeline.config.schema import CrawlConfig; "
CRAWL += "crawl(CrawlConfig.model_validate_json(sys.argv[1]))"


def by_path(folder: Path, web: Web) -> dict[str, Row]:
    """The rows of a raw folder by the path of their URL."""
    return {row.source["url"].removeprefix(web.url): row for row in read_rows(folder)}


def pictures(number: int) -> dict[str, Reply]:
    return {f"/{seed}.png": Reply(picture(seed)) for seed in range(number)}


def test_a_picture_is_a_file_named_by_its_content_and_a_row_that_says_where_it_came_from(tmp_path: Path) -> None:
    with Web({"/a.png": Reply(picture(1), kind="image/x-odd")}) as web:
        summary = crawl(listed(tmp_path, web, "/a.png?size=1"))
        (row,) = read_rows(tmp_path / "raw")
        assert row.source == {
            "url": f"{web.url}/a.png?size=1",
            "engine": "urls",
            "keyword": "",
            "licence": "any",
            "time": TIME,
            "content_type": "image/x-odd",
        }
    assert (row.status, row.label, row.path) == (Status.KEPT, "smile", f"smile/{row.sha256[:12]}.png")
    assert hash_file(tmp_path / "raw" / row.path) == row.sha256
    assert (summary.kept, summary.dropped, summary.failed, summary.known) == (1, 0, 0, 0)


def test_the_suffix_follows_the_content_and_only_else_the_url(tmp_path: Path) -> None:
    pages = {
        "/photo.png": Reply(picture(1, "JPEG")),
        "/script.php": Reply(picture(2, "GIF")),
        "/nothing": Reply(b"\x00 what is this"),
        "/odd.jpg": Reply(b"\x00 what is this too"),
    }
    with Web(pages) as web:
        crawl(listed(tmp_path, web, *pages))
        rows = by_path(tmp_path / "raw", web)
    suffixes = {path: Path(row.path).suffix for path, row in rows.items()}
    assert suffixes == {
        "/photo.png": ".jpg",
        "/script.php": ".gif",
        "/nothing": ".bin",
        "/odd.jpg": ".jpg",
    }
    assert all(row.status is Status.KEPT and (tmp_path / "raw" / row.path).is_file() for row in rows.values())
    assert (tmp_path / "raw" / rows["/odd.jpg"].path).read_bytes() == pages["/odd.jpg"].body


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_of_picture_is_known_by_its_beginning_without_a_decoder(kind: str) -> None:
    body = picture(1, kind)
    known = "" if kind == "TGA" else sniff_suffix(body)  # TGA has no beginning of its own
    assert (sniff_signature(body), name_problem(body)) == (known, "")


@pytest.mark.slow
def test_no_decoder_is_opened_by_a_crawl(tmp_path: Path) -> None:
    with Web({"/a": Reply(picture(1, "TGA")), "/b": Reply(picture(2, "AVIF")), "/c": Reply(b"II*\0 torn")}) as web:
        config = listed(tmp_path, web, "/a", "/b", "/c")
        look = f"{CRAWL}; assert not any(name.endswith('ImagePlugin') for name in sys.modules)"
        subprocess.run([sys.executable, "-c", look, config.model_dump_json()], check=True, timeout=120)
    assert {Path(row.path).suffix for row in read_rows(config.output)} == {".bin", ".avif", ".tif"}


def test_what_cannot_be_fetched_ends_in_a_row_that_says_why(tmp_path: Path) -> None:
    pages = {
        "/good.png": Reply(picture(1)),
        "/big.png": Reply(bytes(2000)),
        "/boast.png": Reply(b"", declared=10**12),
        "/torn.png": Reply(picture(2), declared=10**3),
        "/silent.png": SILENCE,
        "/round.png": Reply(status=302, headers={"Location": "/round.png"}),
        "/away.png": Reply(status=302, headers={"Location": "file:///etc/passwd"}),
        "/private.png": Reply(status=403),
        "/page.jpg": Reply(b"<!doctype html><title>not here</title>", kind="image/jpeg"),
        "/empty.jpg": Reply(b"", kind="image/jpeg"),
        "/bomb.png": Reply(gzip.compress(bytes(10_000_000))[:1400], headers={"Content-Encoding": "gzip"}),
    }
    with Web(pages) as web:
        config = listed(tmp_path, web, *pages, "/gone.png", timeout=2, max_bytes=1500)
        with config.urls["smile"].open("a") as lines:
            lines.write("http://127.0.0.1:1/refused.png\nno address at all\nhttp://[half\n")
        summary = crawl(config)
        rows = by_path(tmp_path / "raw", web)
    reasons = {path: row.reason for path, row in rows.items()}
    assert reasons == {
        "/good.png": "",
        "/big.png": "too_large",
        "/boast.png": "connection",
        "/torn.png": "connection",
        "/silent.png": "timeout",
        "/round.png": "redirects",
        "/away.png": "bad_url",
        "/private.png": "http_403",
        "/page.jpg": "not_an_image",
        "/empty.jpg": "empty",
        "/bomb.png": "too_large",
        "/gone.png": "http_404",
        "http://127.0.0.1:1/refused.png": "connection",
        "no address at all": "bad_url",
        "http://[half": "bad_url",
    }
    failed = [row for row in rows.values() if row.status is Status.FAILED]
    assert (summary.kept, summary.failed) == (1, len(failed)) == (1, 14)
    assert not any((tmp_path / "raw" / row.path).exists() for row in failed)
    assert len({row.path for row in failed}) == 14


def test_a_redirect_is_followed_and_the_row_keeps_the_url_that_was_listed(tmp_path: Path) -> None:
    with Web({"/old.png": Reply(status=301, headers={"Location": "new.png"}), "/new.png": Reply(picture(1))}) as web:
        crawl(listed(tmp_path, web, "/old.png"))
        assert by_path(tmp_path / "raw", web)["/old.png"].status is Status.KEPT


def test_a_redirect_to_the_name_of_our_gallery_is_a_failed_row_and_the_crawl_goes_on(tmp_path: Path) -> None:
    away = Reply(status=302, headers={"Location": "http://sample.invalid/x"})
    with Web({"/a.png": away, "/b.png": Reply(picture(1))}) as web:
        crawl(listed(tmp_path, web, "/a.png", "/b.png"))
        rows = by_path(tmp_path / "raw", web)
    assert {path: row.reason for path, row in rows.items()} == {"/a.png": "connection", "/b.png": ""}


def test_of_the_same_bytes_one_file_is_kept_whatever_the_timing(tmp_path: Path) -> None:
    pages = {name: Reply(picture(1)) for name in ("/c.png", "/a.png", "/b.png")} | {"/z.png": Reply(picture(2))}
    with Web(pages) as web:
        crawl(listed(tmp_path, web, *pages))
        rows = by_path(tmp_path / "raw", web)
    assert {path: row.reason for path, row in rows.items()} == {
        "/a.png": "",
        "/b.png": "same_bytes",
        "/c.png": "same_bytes",
        "/z.png": "",
    }
    assert rows["/b.png"].sha256 == rows["/a.png"].sha256
    assert rows["/b.png"].attributes == {"copy_of": rows["/a.png"].path}
    assert sorted(path.name for path in (tmp_path / "raw" / "smile").iterdir()) == sorted(
        Path(rows[name].path).name for name in ("/a.png", "/z.png")
    )


def test_the_same_bytes_under_another_suffix_leave_no_file_behind(tmp_path: Path) -> None:
    with Web({"/a.jpg": Reply(b"\0 no picture"), "/b.gif": Reply(b"\0 no picture")}) as web:
        crawl(listed(tmp_path, web, "/b.gif", "/a.jpg"))
        rows = by_path(tmp_path / "raw", web)
    assert (rows["/a.jpg"].reason, rows["/b.gif"].reason) == ("", "same_bytes")
    assert [path.name for path in (tmp_path / "raw" / "smile").iterdir()] == [Path(rows["/a.jpg"].path).name]


def test_a_file_whose_name_was_sought_out_replaces_no_other(tmp_path: Path) -> None:
    """48 bits are found in seconds: these two have the same first twelve digits."""
    bodies = [b"\x89PNG\r\n\x1a\n" + number for number in (b"3259096", b"8908874")]
    assert len({hashlib.sha256(body).hexdigest()[:12] for body in bodies}) == 1
    with Web({f"/{place}.png": Reply(body) for place, body in enumerate([*bodies, *bodies])}) as web:
        crawl(listed(tmp_path, web, "/0.png", "/1.png", "/2.png"))
        crawl(listed(tmp_path, web, "/3.png"))  # the second one knows whose the names are
    rows = [row for row in read_rows(tmp_path / "raw") if row.status is Status.KEPT]
    assert sorted((tmp_path / "raw" / row.path).read_bytes() for row in rows) == bodies
    assert all(hash_file(tmp_path / "raw" / row.path) == row.sha256 for row in rows)
    assert len(list((tmp_path / "raw" / "smile").iterdir())) == 2


def test_pictures_of_one_name_and_two_formats_meet_in_no_later_folder(tmp_path: Path) -> None:
    png, jpeg = b"\x89PNG\r\n\x1a\n3504621", b"\xff\xd8\xff\xe07720675"
    assert hashlib.sha256(png).hexdigest()[:12] == hashlib.sha256(jpeg).hexdigest()[:12]
    with Web({"/0": Reply(png), "/1": Reply(jpeg)}) as web:
        crawl(listed(tmp_path, web, "/0", "/1"))
    assert len({Path(row.path).stem for row in read_rows(tmp_path / "raw") if row.status is Status.KEPT}) == 2


def test_a_host_that_does_not_answer_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others, listed_all, get, put = [f"/{n}.png" for n in range(6)], threading.Event(), HostQueue.get, HostQueue.put
    found: list[str] = []

    def put_and_count(urls: HostQueue, url: str, *more: object) -> None:
        put(urls, url, *more)
        found.append(url)
        if len(found) == len(others) + 4:
            listed_all.set()

    def get_of_all(urls: HostQueue, timeout: float) -> Task:
        listed_all.wait(60)
        return get(urls, timeout)

    monkeypatch.setattr(HostQueue, "put", put_and_count)
    monkeypatch.setattr(HostQueue, "get", get_of_all)
    with Web({path: Reply(picture(number)) for number, path in enumerate(others)}) as web:

        def answer_last(_: int) -> Reply:
            while not set(others) <= set(web.asked) and not dead.closing.wait(0.02):
                pass
            return Reply(picture(90))

        with Web({f"/{n}.png": answer_last for n in range(4)}) as dead:
            config = listed(tmp_path, dead, *(f"/{n}.png" for n in range(4)), threads=2, interval=0.05)
            with (tmp_path / "smile.txt").open("a") as urls:
                urls.writelines(f"{web.url}{path}\n" for path in others)
            assert crawl(config).kept == len(others) + 1  # the dead one's are the same picture


def test_what_a_stopping_crawl_hung_up_on_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, note = threading.Event(), Ledger.note

    def withhold(number: int) -> Reply:
        asked.set()
        return SILENCE if number == 1 else Reply(picture(1))

    def answer_then(_: int) -> Reply:
        asked.wait(60)
        return Reply(picture(2))

    def fill_the_disk(ledger: Ledger, origin: Origin, url: str, answer: Answer) -> None:
        if url.endswith("/b.png"):
            raise SetupError("no room")
        note(ledger, origin, url, answer)

    with Web({"/a.png": withhold, "/b.png": answer_then}) as web:
        config = listed(tmp_path, web, "/a.png", "/b.png", threads=2)
        monkeypatch.setattr(Ledger, "note", fill_the_disk)
        with pytest.raises(SetupError, match="no room"):
            crawl(config)
        monkeypatch.undo()
        assert crawl(config).kept == 2


def test_the_same_bytes_in_two_classes_are_kept_in_both(tmp_path: Path) -> None:
    with Web({"/a.png": Reply(picture(1))}) as web:
        smile, pout = listed(tmp_path, web, "/a.png"), listed(tmp_path, web, "/a.png", label="pout")
        crawl(smile.model_copy(update={"urls": {**smile.urls, **pout.urls}}))
    assert [(row.label, row.status) for row in read_rows(tmp_path / "raw")] == [("pout", "kept"), ("smile", "kept")]


def test_a_url_that_two_searches_find_is_fetched_once(tmp_path: Path) -> None:
    with Web(
        {"/a.png": Reply(picture(1)), "/page.html": Reply(b"<img src=a.png>"), "/again": Reply(b"<img src=/a.png>")}
    ) as web:
        config = listed(tmp_path, web, "/a.png", sites={"smile": (f"{web.url}/page.html", f"{web.url}/again")})
        crawl(config.model_copy(update={"engines": ("urls", "site")}))
        assert web.asked.count("/a.png") == 1
    assert [row.source["engine"] for row in read_rows(tmp_path / "raw")] == ["urls"]


def test_a_second_run_fetches_only_what_is_new(tmp_path: Path) -> None:
    with Web(pictures(3)) as web:
        crawl(listed(tmp_path, web, "/0.png", "/gone.png"))
        before = read_rows(tmp_path / "raw")
        before_it = len(web.asked)
        summary = crawl(listed(tmp_path, web, "/0.png", "/gone.png", "/1.png"))
        assert web.asked[before_it:] == ["/1.png"]
    after = read_rows(tmp_path / "raw")
    assert (summary.kept, summary.failed, summary.known) == (1, 0, 2)
    assert len(after) == 3
    assert all(row in after for row in before)


def test_a_second_run_without_news_leaves_every_byte(tmp_path: Path) -> None:
    with Web(pictures(3)) as web:
        config = listed(tmp_path, web, *pictures(3))
        crawl(config)
        before = (tmp_path / "raw" / MANIFEST).read_bytes()
        assert crawl(config).known == 3
    assert (tmp_path / "raw" / MANIFEST).read_bytes() == before


def test_force_asks_again_only_for_what_failed(tmp_path: Path) -> None:
    pages: dict[str, Script] = {
        **pictures(2),
        "/late.png": lambda number: Reply(picture(9), 200 if number > 1 else 404),
    }
    with Web(pages) as web:
        config = listed(tmp_path, web, *pages)
        crawl(config)
        before_it = len(web.asked)
        summary = crawl(config, force=True)
        assert web.asked[before_it:] == ["/late.png"]
    assert (summary.kept, summary.known) == (1, 2)
    assert [row.status for row in read_rows(tmp_path / "raw")] == [Status.KEPT] * 3


def test_rows_of_an_import_stay_and_their_bytes_are_not_taken_twice(tmp_path: Path) -> None:
    with Web(pictures(2)) as web:
        crawl(listed(tmp_path / "first", web, "/0.png"))
        (row,) = read_rows(tmp_path / "first" / "raw")
        imported = row.replace(path="smile/zz.png", source={"name": "mine", "file": "0.png"})
        (tmp_path / "raw" / "smile").mkdir(parents=True)
        (tmp_path / "raw" / "smile" / "zz.png").write_bytes(picture(0))
        write_rows(tmp_path / "raw", [imported])
        write_provenance(tmp_path / "raw", {"stage": "raw"})
        crawl(listed(tmp_path, web, "/0.png", "/1.png"))
    rows = read_rows(tmp_path / "raw")
    assert imported in rows
    assert sorted((row.source.get("url", "").removeprefix(web.url), row.reason) for row in rows) == [
        ("", ""),
        ("/0.png", "same_bytes"),
        ("/1.png", ""),
    ]


def test_what_a_killed_import_finished_is_not_lost(tmp_path: Path) -> None:
    row = Row(path="smile/zz.png", label="smile", source={"name": "mine", "file": "0.png"}, sha256="00")
    with locked_raw(tmp_path / "raw") as journal:
        journal.append("mine 0.png", [row])
    (tmp_path / "raw" / "smile").mkdir()
    (tmp_path / "raw" / row.path).write_bytes(b"its bytes")
    with Web(pictures(1)) as web:
        crawl(listed(tmp_path, web, "/0.png"))
    assert row in read_rows(tmp_path / "raw")


def test_a_killed_import_of_the_same_bytes_takes_no_address_and_licence_away(tmp_path: Path) -> None:
    with Web(pictures(2)) as web:
        crawl(listed(tmp_path, web, "/0.png"))
        (row,) = read_rows(tmp_path / "raw")
        with locked_raw(tmp_path / "raw") as journal:
            journal.append("mine 0.png", [row.replace(source={"name": "mine", "file": "0.png"})])
        crawl(listed(tmp_path, web, "/0.png", "/1.png"))
        assert web.asked.count("/0.png") == 1
    assert row in read_rows(tmp_path / "raw")
    assert sorted(one.reason for one in read_rows(tmp_path / "raw")) == ["", "", "same_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 4])
def test_a_killed_crawl_goes_on_where_it_stopped_and_ends_with_the_same_rows(tmp_path: Path, threads: int) -> None:
    pages: dict[str, Script] = {**pictures(12)}
    child: list[subprocess.Popen[bytes]] = []

    def kill_once(number: int) -> Reply:
        if number == 1:
            child[0].kill()
            child[0].wait()
        return Reply(picture(8))

    pages["/8.png"] = kill_once
    with Web(pages) as web:
        config = listed(tmp_path, web, *pages, threads=threads)
        child.append(subprocess.Popen([sys.executable, "-c", CRAWL, config.model_dump_json()]))
        assert child[0].wait(60) == -signal.SIGKILL
        assert not (tmp_path / "raw" / MANIFEST).exists()
        with locked_raw(tmp_path / "raw") as journal:
            finished = {row.source["url"].removeprefix(web.url) for row in journal.rows()}
        before_it = len(web.asked)
        crawl(config)
        assert set(web.asked[before_it:]) == set(pages) - finished
        whole = listed(tmp_path / "whole", web, *pages, threads=1)
        crawl(whole)
    assert finished or threads > 1
    assert not (tmp_path / "raw" / JOURNAL).exists()
    assert (tmp_path / "raw" / MANIFEST).read_bytes() == (whole.output / MANIFEST).read_bytes()


@pytest.mark.slow
def test_two_kills_of_the_command_lose_nothing_and_bring_nothing_twice(tmp_path: Path) -> None:
    child: list[subprocess.Popen[bytes]] = []
    deaths: list[str] = []

    def kill_first(path: str) -> Script:
        def reply(number: int) -> Reply:
            if number == 1:
                child[-1].kill()
                child[-1].wait()
                deaths.append(path)
            return Reply(picture(int(path[1:-4])))

        return reply

    pages: dict[str, Script] = {**pictures(30), **{path: kill_first(path) for path in ("/9.png", "/19.png")}}
    with Web(pages) as web:
        listed(tmp_path, web, *pages, "/gone.png")
        settings_file = tmp_path / "x.yaml"
        settings_file.write_text(
            f"name: x\ndata: {tmp_path}\ncrawl:\n  engines: [urls]\n  urls: {{smile: {tmp_path / 'smile.txt'}}}\n"
            "  interval: 0\n  threads: 2\n  retries: 1\n  robots: none\n  allow_private: true\n"
        )
        command = [sys.executable, "-m", "fer_pipeline", "crawl", "--config", str(settings_file)]
        codes = []
        for _ in range(3):
            child.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            codes.append(child[-1].wait(60))
        twice = {path for path in web.asked if web.asked.count(path) > 1}
        whole = listed(tmp_path / "whole", web, *pages, "/gone.png")
        crawl(whole)
    assert (codes, len(deaths)) == ([-signal.SIGKILL, -signal.SIGKILL, 0], 2)
    for name in (MANIFEST, HOST_STATS):
        assert (tmp_path / "x" / "raw" / name).read_bytes() == (whole.output / name).read_bytes()
    assert len(list((tmp_path / "x" / "raw" / "smile").iterdir())) == 30
    assert len(twice) <= 4  # what the two threads were at when they were killed


def test_a_file_that_did_not_come_to_the_disk_is_fetched_again(tmp_path: Path) -> None:
    with Web(pictures(3)) as web:
        config = listed(tmp_path, web, *pictures(3))
        crawl(config)
        rows = read_rows(config.output)
        with locked_raw(config.output) as journal:  # as after a power cut: notes are there, bytes are not
            for row in rows:
                journal.append(f"smile {row.source['url']}", [row])
        (config.output / MANIFEST).unlink()
        (config.output / rows[0].path).write_bytes(b"")
        (config.output / rows[1].path).unlink()
        before_it = len(web.asked)
        crawl(config)
        assert len(web.asked[before_it:]) == 2
    assert read_rows(config.output) == rows
    assert all(hash_file(config.output / row.path) == row.sha256 for row in rows)


@pytest.mark.slow
def test_ctrl_c_stops_a_crawl_that_waits_for_a_server(tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(_: int) -> Reply:
        asked.set()
        return SILENCE

    with Web({**pictures(1), "/silent.png": silent}) as web:
        config = listed(tmp_path, web, "/0.png", "/silent.png", timeout=600, threads=1)
        child = subprocess.Popen([sys.executable, "-c", CRAWL, config.model_dump_json()], stderr=subprocess.PIPE)
        assert asked.wait(60)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)  # a tenth of what the server is waited for
    assert child.returncode != 0
    assert b"KeyboardInterrupt" in errors
    with locked_raw(tmp_path / "raw") as journal:
        assert len(list(journal.entries())) == 1


def test_an_answer_that_comes_after_ctrl_c_changes_nothing(tmp_path: Path) -> None:
    released = threading.Event()

    def late(_: int) -> Reply:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        released.wait(60)
        return Reply(picture(1))

    with Web({"/late.png": late}) as web:
        with pytest.raises(KeyboardInterrupt):
            crawl(listed(tmp_path, web, "/late.png", threads=1))  # others might not have started yet
        released.set()
        for thread in threading.enumerate():
            if thread.name.startswith("downloader"):
                thread.join()
    assert [path.name for path in sorted((tmp_path / "raw").iterdir())] == [".lock", "provenance.json"]


def test_no_picture_at_all_is_an_error_that_says_what_each_engine_answered(tmp_path: Path) -> None:
    with Web({"/images/async": Reply(b"<html></html>", kind="text/html")}) as web:
        config = settings(
            tmp_path,
            engines=("bing", "baidu"),
            keywords={"smile": ("smile",)},
            base={"bing": web.url, "baidu": "http://127.0.0.1:1"},
        )
        lines: list[str] = []
        with pytest.raises(InputError) as error:
            crawl(config, on_progress=lines.append)
    assert [line.partition(":")[0] for line in lines] == ["smile", "smile"]  # and no table without a row
    assert "bing: 200, 0 results parsed; baidu: connection refused" in str(error.value)
    assert "crawl.engines" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "raw" / MANIFEST).exists()


def test_results_that_all_fail_are_an_error_and_still_end_in_rows(tmp_path: Path) -> None:
    with Web() as web:
        config = listed(tmp_path, web, "/a.png", "/b.png")
        with pytest.raises(InputError, match=r"urls: 2 URLs listed; fetching them: http_404 2.*--force"):
            crawl(config)
    assert [row.reason for row in read_rows(tmp_path / "raw")] == ["http_404", "http_404"]


def test_a_second_crawl_that_finds_nothing_fails_as_a_first_one_does(tmp_path: Path) -> None:
    with Web({"/a.png": Reply(picture(1))}) as web:
        crawl(listed(tmp_path, web, "/a.png"))
        crawl(listed(tmp_path, web, "/a.png", "/gone.png"))  # one of them is there: no error
        before = (tmp_path / "raw" / MANIFEST).read_bytes()
        for force in (False, True, False):
            with pytest.raises(InputError, match="urls: 1 URLs listed"):
                crawl(listed(tmp_path, web, "/gone.png"), force=force)
    assert (tmp_path / "raw" / MANIFEST).read_bytes() == before


def test_a_disk_that_takes_no_file_stops_the_crawl(tmp_path: Path) -> None:
    with Web(pictures(9)) as web:
        config = listed(tmp_path, web, *pictures(9))
        config.output.mkdir()
        write_provenance(config.output, {"stage": "raw"})
        (config.output / "smile").write_text("a file where the folder should be")
        with pytest.raises(SetupError, match="cannot write"):
            crawl(config)
    assert not (config.output / MANIFEST).exists()


def test_threads_end_and_logging_stays_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads, handlers, level = set(threading.enumerate()), logging.root.handlers[:], logging.root.level
    lines: list[str] = []
    with Web(pictures(2)) as web:
        crawl(listed(tmp_path, web, *pictures(2), "/gone.png"), on_progress=lines.append)
        host = web.url.removeprefix("http://")
    assert set(threading.enumerate()) == threads
    assert (logging.root.handlers, logging.root.level) == (handlers, level)
    assert logging.getLogger("urllib3.connectionpool").filters == []
    assert capfd.readouterr() == ("", "")
    assert lines == [
        "smile: urls: 3 URLs listed; http_404 1, kept 2",
        f"crawl: engine  host             {' ' * (len(host) - 15)}kept    why not",
        f"crawl: urls    {host}  2 of 3  http_404 1",
    ]


def test_a_table_of_hosts_that_fer_did_not_write_stays_as_it_is(tmp_path: Path) -> None:
    lines: list[str] = []
    with Web(pictures(2)) as web:
        config = listed(tmp_path, web, "/0.png")
        with locked_raw(config.output):  # the folder is one that fer has begun
            (config.output / HOST_STATS).write_text("my,own,notes\n")
        crawl(config, on_progress=lines.append)
    assert (config.output / HOST_STATS).read_text() == "my,own,notes\n"
    assert any(f"{config.output / HOST_STATS}: not written by fer" in line for line in lines)


def test_every_result_is_fetched_even_when_fetching_is_slower_than_listing(tmp_path: Path) -> None:
    with Web(pictures(60)) as web:
        summary = crawl(listed(tmp_path, web, *pictures(60), threads=1))
    assert summary.kept == 60


def test_we_go_by_an_honest_name(tmp_path: Path) -> None:
    with Web(pictures(1)) as web:
        crawl(listed(tmp_path, web, "/0.png", contact="me@example.org"))
        (agent,) = web.agents
    assert agent.startswith("fer-pipeline/")
    assert agent.endswith(" (+me@example.org)")


def test_a_contact_that_no_header_can_hold_is_refused(tmp_path: Path) -> None:
    with Web() as web, pytest.raises(UsageError, match=r"crawl\.contact"):
        crawl(listed(tmp_path, web, "/0.png", contact="me\r\nX: y"))


def test_two_crawls_do_not_write_one_folder(tmp_path: Path) -> None:
    with Web() as web, locked_raw(tmp_path / "raw"), pytest.raises(InputError, match="another fer command"):
        crawl(listed(tmp_path, web, "/0.png"))
    assert [path.name for path in sorted((tmp_path / "raw").iterdir())] == [".lock", "provenance.json"]
