"""Kill, starve and mislead every stage, and see that it ends as if nothing had been.  `python -m benchmarks.faults`

A pipeline on drawn photos is run once undisturbed. Then each stage's folder is emptied and made again, many times, each
time with a fault; in the end its files must be, byte for byte, those of the undisturbed run. (The import notes the time
and the training how long an epoch took: those two columns are left out.) Faults that need a mount are skipped where
mounting is not allowed. Exit code 1 tells that something was lost, twice there, or told in more than a line.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.disturbances import ELSEWHERE, FAULTS, Command, Ended
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.sources.sample import draw_gallery

CONFIG = """
name: x
data: {home}/data
runs: {home}/runs
crawl:
  engines: [sample]
  keywords: {{neutral: [neutral], open: [open], pout: [pout], smile: [smile]}}
  timeout: 1
  retries: 1
  interval: 0
  sample: {{per_label: {photos}}}
filter: {{detector: haar, sides: [480]}}
crop: {{scale: eyes, align: true}}
train: {{epochs: 8, network: simpleconv3, device: cpu}}
"""
STAGES = {
    "crawl": "data/x/raw",
    "import": "data/imported/raw",
    "unify": "data/x/unified",
    "dedupe": "data/x/unique",
    "filter": "data/x/faces",
    "crop": "data/x/crops",
    "split": "data/x/split",
    "train": "runs/x",
    "eval": "runs/x",
}
MADE = {"eval": ("metrics.json", "predictions.csv", "leaks.csv"), "train": ("model.onnx", "history.csv", "seen.csv")}
LEAST = 1e-4  # seconds: what outlives a signal so soon after its beginning does not heed it
SIGNALS = ((9, 9), (9, 15), (2, 9), (9, 9))  # a list of trials: what its runs are ended by


@dataclass
class Bench:
    """A folder with a pipeline in it, and what each stage makes of it undisturbed."""

    home: Path
    rng: random.Random
    whole: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def command(self, stage: str, workers: int = 1) -> Command:
        """What a person types for a stage."""
        given = {
            "import": ["folder", str(self.home / "gallery"), "--output", str(self.output("import"))],
            "eval": [str(self.home / "runs" / "x")],
        }.get(stage, ["--config", str(self.home / "c.yaml")])
        more = ["--workers", str(workers)] if stage in {"unify", "dedupe", "filter", "crop", "split"} else []
        return Command([sys.executable, "-m", "fer_pipeline", stage, *given, *more], self.output(stage))

    def output(self, stage: str) -> Path:
        return self.home / STAGES[stage]

    def prepare(self, photos: int) -> None:
        """Run everything once; what is there now is what every disturbed run must end with."""
        draw_gallery(self.home / "gallery", photos, 0)
        shutil.copytree(self.home / "gallery", self.home / "data" / "gallery")
        (self.home / "c.yaml").write_text(CONFIG.format(home=self.home, photos=photos))
        for stage in STAGES:
            command = self.command(stage)
            ended = command.run_killed(signal.SIGKILL, None)
            if ended.returncode:
                raise SystemExit(f"{stage} fails undisturbed: {ended.stderr[-500:]}")
            self.seconds[stage] = ended.seconds
            self.whole[stage] = self.files(stage)

    def finish(self, stage: str, after: str) -> None:
        """Run a stage to its end; there is no reason why it should fail."""
        ended = self.command(stage, self.rng.choice((1, 2))).run()
        if ended.returncode:
            self.problems.append(f"{stage}, {after}: does not go on: {ended.stderr.strip()[-200:]}")

    def compare(self, stage: str, after: str) -> None:
        """Note what differs from the undisturbed run, and what is left behind."""
        now, whole = self.files(stage), self.whole[stage]
        differ = sorted(name for name in now.keys() | whole.keys() if now.get(name) != whole.get(name))
        if differ:
            self.problems.append(f"{stage}, {after}: {len(differ)} files differ: {', '.join(differ[:5])}")

    def files(self, stage: str) -> dict[str, str]:
        """The files of a stage's folder and what is in them."""
        folder = self.output(stage)
        names = MADE.get(stage) or [
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
        ]
        return {name: self.digest(folder / name) for name in names}

    def digest(self, path: Path) -> str:
        """What is in a file, less what tells the time."""
        data = path.read_bytes() if path.is_file() else b"missing"
        if path.name == "history.csv":
            data = b"\n".join(line.rpartition(b",")[0] for line in data.splitlines())
        if path.name == MANIFEST and path.parent == self.output("import"):
            rows = [json.loads(line) for line in data.splitlines()]
            data = json.dumps([{**row, "source": {**row["source"], "time": ""}} for row in rows]).encode()
        return hashlib.sha256(data).hexdigest()

    def empty(self, stage: str) -> None:
        """Take away what a stage made."""
        if stage == "eval":
            for name in (*MADE["eval"], "report.html"):
                (self.output("eval") / name).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.output(stage), ignore_errors=True)

    def restore(self, stage: str) -> None:
        """What the next stages need: a small disk took what was made on it away, and a training what eval made."""
        self.finish(stage, "all")
        if stage == "train":
            self.finish("eval", "training")

    def kill(self, stage: str, kinds: Sequence[int]) -> None:
        """One trial: end a run as often as told, at random moments, then let it finish."""
        self.empty(stage)
        for kind in kinds:
            name = signal.Signals(kind).name
            ended, delay = Ended(0, ""), self.rng.random() * self.seconds[stage]
            while not ended.returncode and delay > LEAST:  # what was too late is tried again, sooner
                ended = self.command(stage, self.rng.choice((1, 2))).run_killed(kind, delay)
                delay /= 2
                if not ended.returncode:
                    self.empty(stage)
            if not ended.returncode:
                self.problems.append(f"{stage}, {name}: is not ended by it")
                continue
            self.counts[f"{stage} {name}"] += 1
            if kind == signal.SIGINT and ended.returncode > 0 and "Traceback" in ended.stderr:
                self.problems.append(f"{stage}, {name}: {ended.stderr[-300:]}")
        self.finish(stage, "killed")
        self.compare(stage, f"killed by {', '.join(map(str, kinds))}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=12, help="of each of four classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="*", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--faults", nargs="*", choices=["kill", *FAULTS], default=["kill", *FAULTS])
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        bench = Bench(Path(name), random.Random(given.seed))
        bench.prepare(given.photos)
        _tell("undisturbed", f"{sum(bench.seconds.values()):.0f} s", bench)
        for stage in given.stages:
            if "kill" in given.faults:
                for kinds in SIGNALS:
                    bench.kill(stage, kinds)
                _tell(stage, ", ".join(f"{key.split(' ', 1)[1]} {n}" for key, n in _of(bench, stage)), bench)
            _disturb(bench, stage, [FAULTS[one] for one in given.faults if one in FAULTS])
            bench.restore(stage)
    killed = sum(count for key, count in bench.counts.items() if key.endswith("SIGKILL"))
    print(f"{killed} times kill -9, {bench.counts.total()} faults in all, {len(bench.problems)} problems")
    return 1 if bench.problems else 0


def _disturb(bench: Bench, stage: str, faults: Sequence[Callable[[Bench, str], str]]) -> None:
    for fault in faults:
        if stage in ELSEWHERE.get(fault.__name__, ()):
            continue
        bench.empty(stage)
        outcome = "skipped"
        with suppress(PermissionError):
            outcome = fault(bench, stage)
            bench.counts[f"{stage} {fault.__name__}"] += 1
        _tell(stage, f"{fault.__name__}: {outcome}", bench)


def _of(bench: Bench, stage: str) -> list[tuple[str, int]]:
    return sorted((key, count) for key, count in bench.counts.items() if key.startswith(f"{stage} "))


def _tell(stage: str, what: str, bench: Bench) -> None:
    print(f"{stage:12} {what}", flush=True)
    while bench.problems and not bench.problems[-1].startswith("told: "):
        print(f"  PROBLEM {bench.problems[-1]}", flush=True)
        bench.problems[-1] = f"told: {bench.problems[-1]}"
        bench.problems.insert(0, bench.problems.pop())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
