"""Cleaning, cropping, training and start-up beside the usual way.  `python -m benchmarks.cleaning --photos FOLDER`"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="*", help="folders of photos; default: drawn ones")
    parser.add_argument("--crops", type=Path, help="a folder per class of crops; default: cut from the drawn photos")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        photos = _photos(given.photos, home)
        print("| what | ours | baseline | ratio |\n|---|---|---|---|")
        crops = given.crops or home / "ours" / "split" / "train"
        clean_and_crop(photos, home, given.rounds)
        train(crops, home, given.rounds)
        memory(photos, home)
        start()


def _photos(folders: list[Path] | None, home: Path) -> list[Path]:
    from fer_pipeline.sources.sample import draw_gallery

    if not folders:
        draw_gallery(home / "gallery", 48, 0)
        folders = [home / "gallery"]
    suffixes = {".jpg", ".jpeg", ".png"}
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes)
    return [path for path in found if path.stat().st_size and _opens(path)]


def _opens(path: Path) -> bool:
    from fer_pipeline.vision.image_io import BadImage, read_image

    try:
        return read_image(path) is not None
    except BadImage:
        return False


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _row(what: str, ours: float, baseline: float, unit: str, *, more_is_better: bool) -> None:
    ratio = ours / baseline if more_is_better else baseline / ours
    print(f"| {what} | {ours:.4g} {unit} | {baseline:.4g} {unit} | {ratio:.1f} |", flush=True)


def clean_and_crop(photos: list[Path], home: Path, rounds: int) -> None:
    """unify + dedupe + filter + crop by `fer run`, processes and start-up included, beside the tutorial's way."""
    import cv2

    from benchmarks.tutorial import clean_and_crop as usual

    raw = home / "photos"
    for number, path in enumerate(photos):
        label = "even" if number % 2 else "odd"
        (raw / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, raw / label / f"{number:05d}{path.suffix}")
    config = home / "bench.yaml"
    config.write_text(f"name: ours\ndata: {home}\nruns: {home}\ncrop: {{scale: eyes, align: true}}\n")
    run_fer("import", "folder", str(raw), "--output", str(home / "ours" / "raw"))
    times: dict[str, list[float]] = {"ours": [], "one": [], "all": []}
    for round_ in range(rounds):
        for stage in ("unified", "unique", "faces", "crops"):
            shutil.rmtree(home / "ours" / stage, ignore_errors=True)
        times["ours"].append(seconds(lambda: run_fer("run", "--config", str(config), "--until", "crop")))
        for kind, threads in (("one", 1), ("all", -1)):
            cv2.setNumThreads(threads)
            times[kind].append(seconds(partial(usual, photos, home / f"usual-{kind}{round_}")))
    run_fer("run", "--config", str(config), "--until", "split")
    ours = median(times["ours"])
    what = f"clean and crop {len(photos)} photos, all cores"
    _row(f"{what}; tutorial: serial, one thread", ours, median(times["one"]), "s", more_is_better=False)
    _row(f"{what}; tutorial: serial, OpenCV's own threads", ours, median(times["all"]), "s", more_is_better=False)


def train(crops: Path, home: Path, rounds: int) -> None:
    """Images a second of simpleconv3: our training loop, augmentation included, beside ImageFolder and DataLoader."""
    from benchmarks.tutorial import train_epochs
    from fer_pipeline.config.schema import TrainConfig
    from fer_pipeline.training.history import read_history
    from fer_pipeline.training.train import train as fit

    source = _as_split(crops, home / "training")
    count = sum(1 for path in source.rglob("*") if path.parent.parent.name == "train") * 0.9
    ours: dict[int, list[float]] = {16: [], 128: []}
    baseline = []
    for round_ in range(rounds):
        for batch, speeds in ours.items():
            out = home / f"run{round_}-{batch}"
            network = {"network": "simpleconv3", "augment": "light", "optimizer": "adam", "batch": batch, "epochs": 5}
            fit(TrainConfig(input=source, output=out, **network))
            speeds.append(count / median(row["seconds"] for row in read_history(out)))
        started = time.perf_counter()
        baseline.append(train_epochs(crops, 2) / (time.perf_counter() - started))
    for batch, speeds in ours.items():
        what = f"training simpleconv3, batch {batch}; tutorial's loop, batch 16"
        _row(what, median(speeds), median(baseline), "images/s", more_is_better=True)


def _as_split(crops: Path, out: Path) -> Path:
    """Give a class folder the manifest that training reads."""
    from fer_pipeline.dataset.rows import MANIFEST, Row, write_rows

    if not (out / MANIFEST).is_file():
        rows = []
        for path in sorted(crops.glob("*/*")):
            target = out / "train" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            rows.append(Row(path=f"{path.parent.name}/{path.name}", label=path.parent.name, split="train"))
        write_rows(out, rows)
    return out


# The kernel's high-water mark of this process alone: what getrusage tells is inherited from the parent.
PEAK = (
    "import re, sys; from fer_pipeline.__main__ import main; main(sys.argv[1:]);"
    "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()).group(1)) / 1024)"
)


def memory(photos: list[Path], home: Path) -> None:
    """Peak memory of unify and filter in one process, over all photos beside a quarter of them."""
    peaks = []
    for share in (1, 4):
        folder = home / f"memory{share}"
        for number, path in enumerate(photos[::share]):
            (folder / "in" / "some").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "in" / "some" / f"{number:05d}{path.suffix}")
        config = folder / "c.yaml"
        config.write_text(f"name: m\ndata: {folder}\nworkers: 1\n")
        run_fer("import", "folder", str(folder / "in"), "--output", str(folder / "m" / "raw"))
        command = [sys.executable, "-c", PEAK, "-q", "run", "--config", str(config), "--until", "filter"]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    _row("peak memory, all photos beside a quarter", peaks[0], peaks[1], "MB", more_is_better=True)


def start() -> None:
    """`fer --help` beside a Python that imports nothing."""
    ours = median(seconds(lambda: run_fer("--help")) for _ in range(7))
    bare = median(seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True)) for _ in range(7))
    _row("fer --help beside a bare Python", ours, bare, "s", more_is_better=True)


def run_fer(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "fer_pipeline", *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    main()
