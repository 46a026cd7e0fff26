"""What came of a crawl, by engine and host: a table for people, and `crawl.csv` beside the manifest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.files import write_csv

HOST_STATS = "crawl.csv"
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
    """All that was ever crawled into a folder, the hosts with the most results first."""
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


def host_of(url: str) -> str:
    """The host a URL names, with a port that is not the usual one; "" if it is no URL."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def write_host_stats(folder: Path, rows: Iterable[Row]) -> list[HostCount]:
    """Write `crawl.csv` for the rows of a folder; none if nothing in it was crawled."""
    counts = count_hosts(rows)
    if counts:
        lines = [(one.engine, one.host, one.results, one.kept, one.why) for one in counts]
        write_csv(folder / HOST_STATS, ("engine", "host", "results", "kept", "why not"), lines)
    else:
        (folder / HOST_STATS).unlink(missing_ok=True)
    return counts


def table_of(counts: Sequence[HostCount], shown: int = SHOWN) -> list[str]:
    """The hosts with the most results as lines of a table; the others in one line."""
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
