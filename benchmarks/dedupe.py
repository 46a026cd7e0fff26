"""Near-copies among photos, beside imagededup.  `python -m benchmarks.dedupe --photos FOLDER --imagededup PYTHON`"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy reads it; both have processes

import numpy as np

from benchmarks.cleaning import run_fer, seconds
from benchmarks.hashes import draw_hashes
from fer_pipeline.dataset.rows import kept_rows
from fer_pipeline.sources.sample import draw_gallery
from fer_pipeline.stages.near_duplicates import near_hashes

DISTANCE = 6
# Run by the python that has imagededup; it prints the seconds of the calls alone, without imports. Its CNN fetches
# weights when it is imported, and is left out.
IMAGEDEDUP = """
import json, sys, time, types
sys.modules["imagededup.methods.cnn"] = types.SimpleNamespace(CNN=None)
from imagededup.methods import PHash
kind, where = sys.argv[1:]
if __name__ == "__main__":
    method = PHash(verbose=False)
    if kind == "photos":
        given = {"image_dir": where, "recursive": True}
    else:
        given = {"encoding_map": json.load(open(where)), "search_method": kind, "num_dist_workers": 0}
    started = time.perf_counter()
    found = method.find_duplicates(max_distance_threshold=DISTANCE, **given)
    print("taken", time.perf_counter() - started, sum(map(len, found.values())) // 2)
""".replace("DISTANCE", str(DISTANCE))


def main() -> None:
    """Print the table; the two alternate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photos; default: drawn ones")
    parser.add_argument("--imagededup", type=Path, help="the python of an environment with imagededup")
    parser.add_argument("--hashes", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print("| what | by | seconds | ours is so many times as fast |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        hash_photos(given.photos, given.imagededup, given.rounds, Path(name))
        search_hashes(given.hashes, given.imagededup, given.rounds, Path(name))


def hash_photos(photos: Path | None, peer: Path | None, rounds: int, home: Path) -> None:
    """From photos to groups of copies, by as many processes as there are cores."""
    if photos is None:
        photos = home / "gallery"
        draw_gallery(photos, 100, 0)
    config = home / "c.yaml"
    config.write_text(f"name: x\ndata: {home}\n")
    run_fer("import", "folder", str(photos), "--output", str(home / "x" / "raw"))
    run_fer("unify", "--config", str(config))
    ours, theirs, whole = list[float](), list[float](), list[float]()
    for _ in range(rounds):
        ours.append(seconds(lambda: run_fer("dedupe", "--config", str(config), "--force")))
        if peer is not None:
            started = time.perf_counter()
            theirs.append(ask(peer, "photos", home / "x" / "unified")[0])
            whole.append(time.perf_counter() - started)
    what = f"{sum(1 for _ in kept_rows(home / 'x' / 'unified')):,} photos"
    tell(what, "`fer dedupe`, start, attributes of each photo and links included", ours, ours)
    tell(what, "imagededup, PHash and BK-tree, start included", whole, ours)
    tell(what, "the same, without its start", theirs, ours)


def search_hashes(count: int, peer: Path | None, rounds: int, home: Path) -> None:
    """All near pairs of the same hashes, one process each; AssertionError if the two find different numbers."""
    hashes = np.unique(draw_hashes(count))
    named = home / "hashes.json"
    named.write_text(json.dumps({str(number): f"{value:016x}" for number, value in enumerate(hashes.tolist())}))
    times: dict[str, list[float]] = {"ours": [], "brute_force_cython": [], "bktree": []}
    for _ in range(rounds):
        started = time.perf_counter()
        pairs = sum(len(left) for left, _ in near_hashes(hashes, DISTANCE))
        times["ours"].append(time.perf_counter() - started)
        if peer is None:
            continue
        for method in ("brute_force_cython", "bktree"):
            taken, found = ask(peer, method, named)
            assert found == pairs, (method, found, pairs)
            times[method].append(taken)
    what = f"{len(hashes):,} hashes, distance {DISTANCE}"
    tell(what, "`near_hashes`", times["ours"], times["ours"])
    for method in ("brute_force_cython", "bktree"):
        tell(what, f"imagededup, `{method}`", times[method], times["ours"])


def ask(peer: Path, kind: str, where: Path) -> tuple[float, int]:
    """Seconds that imagededup took, and how many pairs it found."""
    # A file, not -c: its worker processes read the script again.
    script = where.parent / "peer.py"
    script.write_text(IMAGEDEDUP)
    done = subprocess.run([str(peer), str(script), kind, str(where)], check=True, capture_output=True, text=True)
    seconds, pairs = done.stdout.rpartition("taken")[2].split()
    return float(seconds), int(pairs)


def tell(what: str, by: str, times: list[float], ours: list[float]) -> None:
    """A line of the table; the ratios are those of single rounds."""
    if times:
        ratio = median(one / own for one, own in zip(times, ours, strict=True))
        print(f"| {what} | {by} | {median(times):.3g} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
