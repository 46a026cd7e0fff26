"""Pictures fetched a second from loopback, beside icrawler and img2dataset.  `python -m benchmarks.fetching`"""

import argparse
import asyncio
import io
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image

DRAWN = 100  # different pictures; each URL gives one of them with its number behind it, so that no two are the same
SIDE = 160  # pixels, about 5 kB

# Run by the python that has img2dataset; it prints the seconds of the call alone, without imports.
IMG2DATASET = """
import os, sys, time
from img2dataset import download
started, before = time.perf_counter(), sum(os.times()[:4])
urls, folder, processes, threads = sys.argv[1:]
download(url_list=urls, output_folder=folder, processes_count=int(processes), thread_count=int(threads),
         resize_mode="no", disable_all_reencoding=True, output_format="files", compute_hash=None, timeout=15)
print("taken", time.perf_counter() - started, sum(os.times()[:4]) - before)
"""


def main() -> None:
    """Print a table; all fetchers alternate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--threads", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--img2dataset", type=Path, help="the python of an environment with img2dataset")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return
    print(
        "| threads | fetcher | pictures/s | ours is so many times as fast | processor time a picture, ms | times ours |"
    )
    print("|---|---|---|---|---|---|")
    # Emptied at the end only: for seconds after a file is deleted, ext4 is slow to make new ones.
    with serving() as address, tempfile.TemporaryDirectory() as folder:
        urls = [f"{address}/{number}.jpg" for number in range(given.pictures)]
        for threads in given.threads:
            taken: dict[str, list[Taken]] = {}
            for number in range(given.rounds):
                place = Path(folder) / f"{threads}-{number}"
                for name, one in time_all(urls, threads, given.img2dataset, place, first=number):
                    taken.setdefault(name, []).append(one)
            for name, times in sorted(taken.items(), key=lambda item: item[0] != "ours"):
                print(f"| {threads} | {name} | {describe(times, taken['ours'], given.pictures)} |", flush=True)


def describe(times: list["Taken"], ours: list["Taken"], pictures: int) -> str:
    """Medians over the rounds; the ratios are those of single rounds, with the least and the greatest."""
    speed = pictures / median(one.seconds for one in times)
    faster = sorted(one.seconds / own.seconds for one, own in zip(times, ours, strict=True))
    work = median(one.processor for one in times) / pictures
    lighter = median(one.processor / own.processor for one, own in zip(times, ours, strict=True))
    spread = f"{median(faster):.1f} ({faster[0]:.1f} to {faster[-1]:.1f})"
    return f"{speed:,.0f} | {'1' if times is ours else spread} | {1000 * work:.2f} | {lighter:.1f}"


class Taken(NamedTuple):
    """What fetching all pictures took: seconds that passed, and of processors, which other programs change less."""

    seconds: float
    processor: float


@contextmanager
def taking() -> Iterator[Callable[[], Taken]]:
    """Times what is done inside; processes that were started and have ended count."""
    started, before = time.perf_counter(), _processor()
    yield lambda: Taken(time.perf_counter() - started, _processor() - before)


def _processor() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def time_all(urls: list[str], threads: int, peer: Path | None, folder: Path, first: int) -> Iterator[tuple[str, Taken]]:
    """What each fetcher took for the same URLs, into an empty folder each; another one begins each round."""
    folder.mkdir()
    (folder / "urls.txt").write_text("\n".join(urls))
    fetchers: list[Callable[[], dict[str, Taken]]] = [
        lambda: {"ours": time_ours(folder, len(urls), threads)},
        lambda: time_icrawler(folder, len(urls), threads),
    ]
    if peer is not None:
        fetchers += [partial(time_img2dataset, peer, folder, processes, threads) for processes in (1, 2)]
    for number in range(len(fetchers)):
        yield from fetchers[(first + number) % len(fetchers)]().items()


def time_ours(folder: Path, count: int, threads: int) -> Taken:
    """`fer crawl` without its start: rows, journal and manifest included; nobody is asked for leave or waited for."""
    from fer_pipeline.config.schema import CrawlConfig
    from fer_pipeline.sources.crawl.crawler import crawl

    config = CrawlConfig(
        output=folder / "ours",
        engines=("urls",),
        urls={"some": folder / "urls.txt"},
        limit=count,
        threads=threads,
        interval=0,
        robots="none",
        allow_private=True,
    )
    with taking() as taken:
        assert crawl(config).kept == count
        return taken()


def time_icrawler(folder: Path, count: int, threads: int) -> dict[str, Taken]:
    """Its own feeder, parser and ImageDownloader, to the end and to the last picture: then it waits 5 s."""
    from icrawler import ImageDownloader
    from icrawler.builtin import UrlListCrawler

    ends: list[Taken] = []

    class Downloader(ImageDownloader):  # type: ignore[misc]
        def process_meta(self, _: dict[str, object]) -> None:
            ends.append(taken())

    storage = {"root_dir": str(folder / "icrawler")}
    crawler = UrlListCrawler(
        downloader_cls=Downloader, downloader_threads=threads, storage=storage, log_level=logging.CRITICAL
    )
    with taking() as taken:
        crawler.crawl(str(folder / "urls.txt"), max_num=count)
        whole = taken()
    assert len(list((folder / "icrawler").iterdir())) == count
    return {"icrawler, to its last picture": ends[-1], "icrawler, to its end": whole}


def time_img2dataset(peer: Path, folder: Path, processes: int, threads: int) -> dict[str, Taken]:
    """Files as they come, neither resized nor encoded again."""
    output = folder / f"img2dataset{processes}"
    arguments = [str(folder / "urls.txt"), str(output), str(processes), str(threads)]
    done = subprocess.run([str(peer), "-c", IMG2DATASET, *arguments], check=True, capture_output=True, text=True)
    taken = Taken(*(float(word) for word in done.stdout.rpartition("taken")[2].split()))
    return {f"img2dataset, processes: {processes}": taken}


@contextmanager
def serving() -> Iterator[str]:
    """A server in a process of its own; gives its address."""
    command = [sys.executable, "-m", "benchmarks.fetching", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.terminate()


class Gallery(asyncio.Protocol):
    """Answers as fast as Python can: a path `/NUMBER.jpg` with a picture, over connections that stay open."""

    pictures: tuple[bytes, ...] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.unread = transport, b""

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            request, _, self.unread = self.unread.partition(b"\r\n\r\n")
            name = request.split(b" ", 2)[1].strip(b"/").partition(b".")[0]
            body = self.pictures[int(name) % len(self.pictures)] + name
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            assert isinstance(self.transport, asyncio.WriteTransport)
            self.transport.write(head + body)


async def serve() -> None:
    """Draw the pictures, tell the port, answer until the process is ended."""
    Gallery.pictures = tuple(_draw(seed) for seed in range(DRAWN))
    server = await asyncio.get_running_loop().create_server(Gallery, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _draw(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
