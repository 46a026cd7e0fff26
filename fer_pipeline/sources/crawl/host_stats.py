"""Count what came of a crawl by engine and host: `crawl.csv` beside the manifest, and a table for the terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.files import write_csv
from fer_pipeline.sources.crawl.urls import host_of

HOST_STATS = "crawl.csv"
HEADER = ("engine", "host", "results", "kept", "why not")
SHOWN = 12  # hosts in the table


@dataclass(frozen=True)
class HostCount:
    """The results of one engine that one host holds."""

    engine: str
    host: str
    results: int
    kept: int
    reasons: dict[str, int]  # why the others were not kept, the most frequent first

    @property
    def why(self) -> str:
        """The reasons in one line: `http_404 3, robots_txt 2`."""
        return ", ".join(f"{reason} {count}" for reason, count in self.reasons.items())


def count_hosts(rows: Iterable[Row]) -> list[HostCount]:
    """Count all rows that were crawled into a folder, the hosts with the most results first."""
    outcomes: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if isinstance(url := row.source.get("url"), str):
            key = str(row.source.get("engine", "")), host_of(url)
            outcomes.setdefault(key, Counter())["" if row.status is Status.KEPT else row.reason] += 1
    counts = [_count(*key, found) for key, found in outcomes.items()]
    return sorted(counts, key=lambda one: (-one.results, one.engine, one.host))


def _count(engine: str, host: str, outcomes: Counter[str]) -> HostCount:
    reasons = sorted(((name, count) for name, count in outcomes.items() if name), key=lambda one: (-one[1], one[0]))
    return HostCount(engine, host, outcomes.total(), outcomes[""], dict(reasons))


def owns_host_stats(folder: Path) -> bool:
    """Whether `crawl.csv` may be written: it is absent, or begins as fer writes it."""
    try:
        with (folder / HOST_STATS).open("rb") as file:
            return file.readline().strip() == ",".join(HEADER).encode()
    except FileNotFoundError:
        return True
    except OSError:
        return False


def write_host_stats(folder: Path, rows: Iterable[Row]) -> list[HostCount]:
    """Write `crawl.csv` for the rows of a folder, or remove it if nothing in it was crawled; a user's file stays."""
    counts = count_hosts(rows)
    if not owns_host_stats(folder):
        return counts
    if counts:
        lines = [(one.engine, one.host, one.results, one.kept, one.why) for one in counts]
        write_csv(folder / HOST_STATS, HEADER, lines)
    else:
        (folder / HOST_STATS).unlink(missing_ok=True)
    return counts


def format_host_stats(counts: Sequence[HostCount], shown: int = SHOWN) -> list[str]:
    """Format the hosts with the most results as lines of a table, the others together in its last line."""
    if not counts:
        return []
    rest = counts[shown:]
    cells = [(one.engine, one.host or "(no host)", f"{one.kept} of {one.results}", one.why) for one in counts[:shown]]
    if rest:
        reasons = sum((Counter(one.reasons) for one in rest), Counter[str]())
        kept, results = sum(one.kept for one in rest), sum(one.results for one in rest)
        why = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        cells.append(("", f"{len(rest)} other hosts", f"{kept} of {results}", why))
    cells = [("engine", "host", "kept", "why not"), *cells]
    widths = [min(48, max(len(row[column]) for row in cells)) for column in range(3)]
    return ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in cells]
