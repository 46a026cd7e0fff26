"""The server beside the usual ones.  `python -m benchmarks.serving RUN --photos FOLDER [--large FOLDER]`"""

import argparse
import asyncio
import io
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import requests
from websockets.sync.client import connect

SUFFIXES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="photos that the clients send")
    parser.add_argument("--large", type=Path, help="photos of 1000 to 2000 px; default: those of --photos, enlarged")
    parser.add_argument("--seconds", type=float, default=60, help="of load")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--only", nargs="*", default=("photo", "load", "live"))
    given = parser.parse_args()
    print("| what | ours | baseline | ratio |\n|---|---|---|---|", flush=True)
    if "photo" in given.only:
        one_photo(given.run, large_photos(given.large or given.photos))
    if "live" in given.only:
        live(given.run, given.photos)
    if "load" in given.only:
        notes = load(given.run, bodies(given.photos), given.seconds, given.rounds, given.clients)
        print("\n" + "\n".join(notes))


def find_photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def large_photos(folder: Path) -> list[bytes]:
    """A dozen JPEGs of 1600 px on the longer side."""
    from PIL import Image

    found = []
    for path in find_photos(folder)[:12]:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        scale = 1600 / max(photo.size)
        buffer = io.BytesIO()
        photo.resize((round(photo.width * scale), round(photo.height * scale))).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def one_photo(run: Path, photos: list[bytes]) -> None:
    """A photo over HTTP, one after another, beside the tutorial's script called without any HTTP."""
    from benchmarks.tutorial import answer_photo

    ours, usual = [], []
    with our_server(run) as (port, _):
        url = f"http://127.0.0.1:{port}/predict"
        for photo in [photos[0], *photos]:
            started = time.perf_counter()
            requests.post(url, data=photo, headers={"content-type": "image/jpeg"}, timeout=60).raise_for_status()
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            answer_photo(photo)
            usual.append(time.perf_counter() - started)
    a, b = median(ours[1:]), median(usual[1:])
    print(
        f"| a photo of 1600 px, end to end; tutorial's script | {a * 1000:.0f} ms | {b * 1000:.0f} ms | {b / a:.1f} |"
    )


def bodies(folder: Path) -> list[bytes]:
    """Ready requests, a photo each."""
    made = []
    for path in find_photos(folder)[:200]:
        data = path.read_bytes()
        form = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + data + b"\r\n--x--\r\n"
        )
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(form)}\r\n"
        made.append(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + form)
    return made


def load(run: Path, requests_: list[bytes], seconds: float, rounds: int, clients: int) -> list[str]:
    """Many clients at once, ours and Flask alternating; the value is a line about each round."""
    notes = []
    rates: dict[str, list[float]] = {"ours": [], "flask": []}
    for _ in range(rounds):
        for name, server in (("ours", our_server), ("flask", flask_server)):
            with server(run) as (port, process):
                asyncio.run(hammer(port, requests_, 2, 1))  # models are loaded once, by one
                asyncio.run(hammer(port, requests_, 5, clients))
                before = memory_mb(process)
                statuses, times = asyncio.run(hammer(port, requests_, seconds, clients))
                after = memory_mb(process)
            rates[name].append(statuses["200"] / seconds)
            slow = sorted(times)[int(len(times) * 0.95)] * 1000 if times else float("nan")
            told = ", ".join(f"{count} answers of status {status}" for status, count in sorted(statuses.items()))
            took = f"median {median(times) * 1000:.0f} ms, 95 % within {slow:.0f} ms"
            notes.append(f"- {name}: {told}, {took}, memory {before:.0f} to {after:.0f} MB")
    a, b = median(rates["ours"]), median(rates["flask"])
    print(
        f"| {clients} clients, {seconds:g} s; plain Flask | {a:.1f} requests/s | {b:.1f} requests/s | {a / b:.1f} |",
        flush=True,
    )
    return notes


async def hammer(port: int, requests_: list[bytes], seconds: float, clients: int) -> tuple[Counter[str], list[float]]:
    """Statuses and seconds of all answers within the time; each client waits for one before it asks for the next."""
    statuses: Counter[str] = Counter()
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        place = number
        while time.perf_counter() < until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    while time.perf_counter() < until:
                        started = time.perf_counter()
                        writer.write(requests_[place % len(requests_)])
                        place += clients
                        head = await reader.readuntil(b"\r\n\r\n")
                        lowered = head.lower()
                        length = int(lowered.partition(b"content-length: ")[2].split(b"\r\n")[0])
                        await reader.readexactly(length)
                        statuses[head[9:12].decode()] += 1
                        times.append(time.perf_counter() - started)
                        if b"connection: close" in lowered:
                            break
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError):
                statuses["broken"] += 1
                await asyncio.sleep(0.05)

    await asyncio.gather(*map(client, range(clients)))
    return statuses, times


def live(run: Path, folder: Path, seconds: float = 20) -> None:
    """Frames of 640 x 480 over the WebSocket, at most two under way."""
    from PIL import Image

    frames = []
    for path in find_photos(folder)[:30]:
        buffer = io.BytesIO()
        with Image.open(path) as opened:
            frame = Image.new("RGB", (640, 480), "gray")
            frame.paste(opened.convert("RGB").resize((400, 400)), (120, 40))
        frame.save(buffer, "JPEG", quality=80)
        frames.append(buffer.getvalue())
    latencies: list[float] = []
    with our_server(run) as (port, _), connect(f"ws://127.0.0.1:{port}/live") as camera:
        sent: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            while len(sent) - len(latencies) < 2:
                camera.send(frames[len(sent) % len(frames)])
                sent.append(time.perf_counter())
            number = json.loads(camera.recv())["frame"]
            latencies.append(time.perf_counter() - sent[number])
    rate, middle = len(latencies) / seconds, median(latencies) * 1000
    print(f"| webcam 640 x 480; asked 15 frames/s, 150 ms | {rate:.1f} frames/s, {middle:.0f} ms | | |")


def memory_mb(parent: int) -> float:
    """Resident memory of a server and its children, in MB."""
    kin = {parent} | {int(line.split()[0]) for line in _processes() if int(line.split()[1]) == parent}
    return sum(int(line.split()[2]) for line in _processes() if int(line.split()[0]) in kin) / 1024


def _processes() -> list[str]:
    return subprocess.run(
        ["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True
    ).stdout.splitlines()


@contextmanager
def our_server(run: Path) -> Iterator[tuple[int, int]]:
    with _server("fer_pipeline", "serve", str(run), "--port", "{port}") as found:
        yield found


@contextmanager
def flask_server(run: Path) -> Iterator[tuple[int, int]]:
    with _server("benchmarks.flask_server", str(run), "{port}") as found:
        yield found


@contextmanager
def _server(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server on a free port; the value is the port and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *(one.replace("{port}", str(port)) for one in arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/")
            yield port, process.pid
        finally:
            process.terminate()


def _wait(url: str) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            requests.get(url, timeout=60)
            return
        except requests.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main()
