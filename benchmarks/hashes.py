"""Near pairs among a million 64-bit hashes, beside faiss's binary indexes.  `python -m benchmarks.hashes`"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and faiss read it: one thread each

import numpy as np

from fer_pipeline.stages.near_duplicates import Hashes, group_hashes, near_hashes

QUERIES = 2000  # of the flat index, whose cost is the same for each; the whole is that many times as much


def main() -> None:
    """Print the table of one run; seconds are those of the processor, so that other programs do not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--growth", type=int, nargs="*", default=[250_000, 500_000, 1_000_000, 2_000_000, 5_000_000])
    parser.add_argument("--once", action="store_true", help="only ours, with its peak memory")
    given = parser.parse_args()
    if given.once:
        tell_once(given.count, given.distance)
        return
    beside_faiss(given.count, given.distance, given.rounds)
    print("\n| hashes | all near pairs | groups, as `dedupe` asks | peak memory |\n|---|---|---|---|")
    for count in given.growth:
        told = [sys.executable, "-m", "benchmarks.hashes", "--once", "--count", str(count)]
        subprocess.run([*told, "--distance", str(given.distance)], check=True)


def draw_hashes(count: int) -> Hashes:
    """Random hashes; a tenth are near copies of others, up to 8 bits apart, and a thousandth are blank photos."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    copies = count // 10
    hashes[:copies] = hashes[rng.integers(copies, count, copies)]
    for _ in range(8):
        flip = rng.random(copies) < 0.5
        hashes[:copies][flip] ^= np.uint64(1) << rng.integers(0, 64, int(flip.sum()), np.uint64)
    hashes[copies : copies + count // 1000] = 0
    return rng.permutation(hashes)


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def beside_faiss(count: int, distance: int, rounds: int) -> None:
    """Ours and each index in turns; raises AssertionError if one finds a pair that the other does not."""
    import faiss

    hashes = np.unique(draw_hashes(count))
    data = hashes[:, None].view(np.uint8)
    flat = faiss.IndexBinaryFlat(64)
    flat.add(data)
    multi = faiss.IndexBinaryMultiHash(64, 4, 16)  # four parts of 16 bits: one is within a bit of the other's
    multi.nflip = 1
    building = _seconds(lambda: multi.add(data))
    asked = np.random.default_rng(1).choice(len(hashes), QUERIES, replace=False)
    times: dict[str, list[float]] = {"ours": [], "flat": [], "multi": []}
    for _ in range(rounds):
        times["ours"].append(_seconds(lambda: list(near_hashes(hashes, distance))))
        for name, index in (("flat", flat), ("multi", multi)):
            spent = _seconds(partial(index.range_search, data[asked], distance + 1))
            times[name].append(spent * len(hashes) / QUERIES)
    check(hashes, asked, flat.range_search(data[asked], distance + 1), distance)
    ours, whole = median(times["ours"]), median(times["flat"])
    print(f"| {len(hashes):,} different hashes, distance {distance} | seconds of one core | ratio |\n|---|---|---|")
    print(f"| `near_hashes` | {ours:.1f} | |")
    parts = f"{QUERIES:,} queries × {len(hashes) // QUERIES}"
    print(f"| faiss `IndexBinaryFlat`, {parts} | {whole:.0f} | {whole / ours:.0f} |")
    found = median(times["multi"]) + building
    print(f"| faiss `IndexBinaryMultiHash(64, 4, 16)`, the same | {found:.0f} | {found / ours:.0f} |", flush=True)


def check(hashes: Hashes, asked: "np.typing.NDArray[np.int64]", found: tuple[object, ...], distance: int) -> None:
    """No pair of the sampled hashes is missed, and none is too many."""
    limits, _, places = (np.asarray(one) for one in found)
    first = np.repeat(asked, np.diff(limits).astype(int))
    theirs = {(min(i, j), max(i, j)) for i, j in zip(first.tolist(), places.tolist(), strict=True) if i != j}
    sampled = set(asked.tolist())
    pairs = (
        (int(i), int(j)) for left, right in near_hashes(hashes, distance) for i, j in zip(left, right, strict=True)
    )
    assert theirs == {pair for pair in pairs if sampled & set(pair)}
    print(f"{len(theirs)} pairs of {len(asked):,} sampled hashes are the same\n")


def tell_once(count: int, distance: int) -> None:
    """A line of the growth table, by a process of its own."""
    hashes = draw_hashes(count)
    different = np.unique(hashes)
    pairs = _seconds(lambda: sum(len(left) for left, _ in near_hashes(different, distance)))
    groups = _seconds(lambda: group_hashes(hashes, distance))
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024
    print(f"| {count:,} | {pairs:.1f} s | {groups:.1f} s | {peak:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
