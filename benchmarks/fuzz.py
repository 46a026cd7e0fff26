"""Feed every reader spoilt inputs, and tell what none may do.  `python -m benchmarks.fuzz --inputs 100000 --seed 0`

A reader may refuse an input by a documented error (BadImage or a FerError). A finding is any other exception, a process
that dies (a crash of a native library, a hang), an input that takes 10 seconds or 300 MB, and a file written outside
the folder it was given. Readers run in a process of their own, started again after every finding that kills it.
"""

import argparse
import json
import mmap
import os
import platform
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzz_targets import KINDS, Input, Kind
from fer_pipeline.errors import FerError
from fer_pipeline.vision.image_io import BadImage
from fer_pipeline.vision.limits import bound_decoders

LIMIT_SECONDS, LIMIT_MEGABYTES = 10, 300
ROOM = 6 << 30  # bytes of address space a reader's process may have
STATE = struct.Struct("4Q2d")  # number, read, refused, findings, most seconds, most megabytes


@dataclass
class Record:
    """What came of the inputs of one kind."""

    kind: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    seconds: float = 0.0  # most for one input
    megabytes: float = 0.0  # most that one input added to the process
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = (self.kind, f"{self.inputs:,}", f"{self.read:,}", f"{self.refused:,}")
        return f"| {' | '.join(told)} | {self.seconds:.2f} | {self.megabytes:.0f} | {len(self.findings)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--here", action="store_true", help="read all in this process: quicker, and a crash ends it")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that were findings")
    given = parser.parse_args()
    print("| kind | inputs | read | refused | slowest s | most MB | findings |\n|---|---|---|---|---|---|---|")
    total = sum(KINDS[kind].share for kind in given.only)
    records = []
    for kind in given.only:
        count = -(-given.inputs * KINDS[kind].share // total)
        records.append((fuzz_here if given.here else fuzz)(kind, count, given.seed, given.keep))
        print(records[-1], flush=True)
    print(f"{sum(one.inputs for one in records):,} inputs, seed {given.seed}, Python {platform.python_version()}")
    found = Counter(finding for one in records for finding in one.findings)
    for finding, count in found.most_common():
        print(f"{count:5d}  {finding}")
    return 1 if found else 0


def fuzz(kind: str, count: int, seed: int, keep: Path | None = None) -> Record:
    """Feed `count` inputs to the reader of a kind."""
    record = Record(kind, count)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        first = 0
        while first < count:
            first = _feed(record, Path(name), (first, count, seed), keep)
    return record


def fuzz_here(kind: str, count: int, seed: int, keep: Path | None = None) -> Record:
    """The same without a process of its own."""
    record = Record(kind, count)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        (Path(name) / "state").write_bytes(bytes(STATE.size))
        (Path(name) / "findings").touch()
        Reader(kind, Path(name), seed).run(0, count)
        _collect(record, Path(name), seed, keep)
    return record


def _feed(record: Record, home: Path, bounds: tuple[int, int, int], keep: Path | None) -> int:
    """One process, until all inputs are read or it dies; gives the number to go on with."""
    state, told = home / "state", home / "findings"
    state.write_bytes(bytes(STATE.size))
    told.write_bytes(b"")
    command = [sys.executable, "-m", "benchmarks.fuzz", "--read", record.kind, str(home), *map(str, bounds)]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    number = STATE.unpack(state.read_bytes())[0]
    if ended.returncode:
        cause = signal.Signals(-ended.returncode).name if ended.returncode < 0 else ended.stderr.decode()[-300:]
        with told.open("a") as file:
            file.write(json.dumps({"number": number, "what": f"{record.kind}: the process ended by {cause}"}) + "\n")
    _collect(record, home, bounds[2], keep)
    return number + 1 if ended.returncode else bounds[1]


def _collect(record: Record, home: Path, seed: int, keep: Path | None) -> None:
    """Add what a reader noted to the record, and keep the inputs that were findings."""
    _, read, refused, _, seconds, megabytes = STATE.unpack((home / "state").read_bytes())
    record.read, record.refused = record.read + read, record.refused + refused
    record.seconds, record.megabytes = max(record.seconds, seconds), max(record.megabytes, megabytes)
    for line in (home / "findings").read_text().splitlines():
        finding = json.loads(line)
        record.findings.append(finding["what"])
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            data = Input(record.kind, finding["number"]).make(KINDS[record.kind].seeds(), seed)
            (keep / f"{record.kind}-{finding['number']}").write_bytes(data)


class Reader:
    """Reads one input after another in this process, and notes how far it is where the parent can see it."""

    def __init__(self, kind: str, home: Path, seed: int) -> None:
        self.kind, self.seed, self.reader = kind, seed, KINDS[kind]
        self.seeds = self.reader.seeds()
        self.sandbox = home / "sandbox"
        self.told = home / "findings"
        self.state = mmap.mmap(os.open(home / "state", os.O_RDWR), STATE.size)
        self.counts = [0, 0, 0, 0]
        self.most = [0.0, 0.0]
        self.outside: list[str] = []
        self.is_watching = False

    def run(self, first: int, stop: int) -> None:
        """Read the inputs of these numbers."""
        self._empty()
        _read_one(self.reader, self.seeds[0], self.sandbox)  # what a first use loads counts for no input
        sys.addaudithook(self._watch)
        for number in range(first, stop):
            self.counts[0] = number
            self._note()
            self._measure(Input(self.kind, number).make(self.seeds, self.seed))
        self._note()

    def _measure(self, data: bytes) -> None:
        signal.alarm(2 * LIMIT_SECONDS)  # kills, also in the middle of a native library
        _forget_peak()
        before, started = _peak(), time.process_time()
        self._empty()
        self.is_watching = True
        outcome = _read_one(self.reader, data, self.sandbox)
        self.is_watching = False
        seconds, megabytes = time.process_time() - started, _peak() - before
        signal.alarm(0)
        self.most = [max(self.most[0], seconds), max(self.most[1], megabytes)]
        self.counts[1] += outcome == "read"
        self.counts[2] += outcome == "refused"
        problems = [] if outcome in {"read", "refused"} else [outcome]
        problems += [f"more than {LIMIT_SECONDS} s"] if seconds > LIMIT_SECONDS else []
        problems += [f"more than {LIMIT_MEGABYTES} MB"] if megabytes > LIMIT_MEGABYTES else []
        problems += [f"wrote outside: {path}" for path in self.outside]
        self.counts[3] += len(problems)
        with self.told.open("a") as file:
            file.writelines(
                json.dumps({"number": self.counts[0], "what": f"{self.kind}: {one}"}) + "\n" for one in problems
            )

    def _empty(self) -> None:
        shutil.rmtree(self.sandbox, ignore_errors=True)
        self.sandbox.mkdir()
        self.outside.clear()

    def _note(self) -> None:
        self.state[:] = STATE.pack(*self.counts, *self.most)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Whatever Python opens for writing, makes, links or removes must lie in the sandbox."""
        paths: tuple[Any, ...] = ()
        if not self.is_watching:
            return
        opened = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if opened or event in {"os.mkdir", "os.remove", "os.rmdir", "os.truncate"}:
            paths = arguments[:1]
        elif event in {"os.rename", "os.link", "os.symlink"}:
            paths = arguments[1:2]
        self.outside += [str(path) for path in paths if not f"{path}/".startswith(f"{self.sandbox}/")]


def _read_one(kind: Kind, data: bytes, sandbox: Path) -> str:
    """`read`, `refused`, or the error that nobody expects, with where it was raised."""
    try:
        kind.read(data, sandbox)
    except (BadImage, FerError) as error:
        return "refused" if "\n" not in str(error) or kind.text else f"told in several lines: {str(error)[:80]!r}"
    except Exception as error:  # noqa: BLE001  this is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "fer_pipeline" in frame.filename] or frames
        return f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].name}: {str(error)[:60]}"
    return "read"


def _forget_peak() -> None:
    """From here on the high-water mark is that of the next input."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The most memory this process has held, in MB; not by getrusage, which knows its parent's mark too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def read_here(kind: str, home: str, first: str, stop: str, seed: str) -> None:
    """The body of a reader's process."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bound_decoders(time=False)  # as in every process of fer's own
    Reader(kind, Path(home), int(seed)).run(int(first), int(stop))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_here(*sys.argv[2:])
    else:
        sys.exit(main())
