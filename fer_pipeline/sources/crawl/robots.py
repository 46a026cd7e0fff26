"""Read what the owner of a host allows: robots.txt (RFC 9309), TDM reservation (W3C TDMRep), X-Robots-Tag."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from protego import Protego

from fer_pipeline.sources.crawl.parsers import read_metas
from fer_pipeline.sources.crawl.politeness import USER_AGENT

MAX_BYTES = 512_000  # of robots.txt and tdmrep.json that are read; RFC 9309 asks for 500 KiB
MAX_RULES = 10_000  # lines of robots.txt, or locations of tdmrep.json, that are read
MAX_RULES_OF_ALL = 200_000  # lines times user agents: each rule may be one of every agent before it
UNREACHABLE = re.compile(r"http_(?:429|5\d\d)")  # there may be rules: nothing may be fetched (RFC 9309, 2.3.1.4)
READ = frozenset({"", "too_large"})  # reasons of an answer whose body was read
ABSENT = re.compile(r"http_\d+|redirects")  # there are no rules (RFC 9309, 2.3.1.3); any other reason: a dead host
FORBIDDING = ("noai", "noimageai", "noindex", "noimageindex")  # `none` is noindex, nofollow
AGENT = re.compile(r"\*|[a-z][\w.+-]*")  # a user agent before a colon, not the time in a date
VALUED = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}  # directives with a colon
PLAIN = {"all", "none", "index", "follow", "nofollow", "noarchive", "nocache", "nosnippet", "notranslate", "noodp"}
DIRECTIVES = VALUED | PLAIN | {"indexifembedded", "noydir", "nositelinkssearchbox", "notrain", *FORBIDDING}
REFUSALS = frozenset(
    {"robots_txt", "robots_unreachable", "tdm_reserved", "tdm_unreachable", *FORBIDDING}
)  # reasons in rows
ReadRules = Callable[[str, int], tuple[bytes, str]]  # URL, most bytes -> body, reason if there is none


@dataclass(frozen=True)
class Rules:
    """The rules of one host; `refusal` is the reason where it allows nothing at all."""

    refusal: str = ""
    robots: Protego | None = None
    reservations: Protego | None = None


@dataclass
class _Host:
    lock: threading.Lock = field(default_factory=threading.Lock)
    rules: Rules | None = None


class RobotsPolicy:
    """Reads the rules of each host once a crawl; other threads that want the same host wait meanwhile."""

    def __init__(self, read: ReadRules, set_crawl_delay: Callable[[str, float], None]) -> None:
        self._read, self._set_crawl_delay = read, set_crawl_delay
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def refusal(self, url: str) -> str:
        """Return "" if a normalised URL may be fetched, else the reason why not."""
        parts = urlsplit(url)
        home = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            host = self._hosts.setdefault(home, _Host())
        with host.lock:
            if host.rules is None:
                host.rules = self._read_rules(home)
        return refusal_by_rules(host.rules, url)

    def _read_rules(self, home: str) -> Rules:
        """Read robots.txt and tdmrep.json; a host that fails to deliver them gets no further request in this crawl."""
        body, reason = self._read(f"{home}/robots.txt", MAX_BYTES)
        if refusal := _unreadable(reason, "robots_unreachable"):
            return Rules(refusal=refusal)
        robots = Protego.parse(bound_rules(body[:MAX_BYTES].decode("utf-8-sig", "replace"))) if reason in READ else None
        if robots is not None:
            self._set_crawl_delay(home, _crawl_delay(robots))
        body, reason = self._read(f"{home}/.well-known/tdmrep.json", MAX_BYTES)
        is_page = body.lstrip()[:1] == b"<"  # many sites answer with their home page where a file is missing
        if (refusal := _unreadable(reason, "tdm_unreachable")) or (reason == "too_large" and not is_page):
            return Rules(refusal=refusal or "tdm_unreachable")
        return Rules(robots=robots, reservations=parse_tdmrep(body) if not reason else None)


def bound_rules(text: str) -> str:
    """Return as much of a robots.txt as is read."""
    lines, agents = list[str](), 0
    for line in islice(text.splitlines(), MAX_RULES):
        agents += line.lstrip()[:4].lower() == "user"
        if agents * len(lines) > MAX_RULES_OF_ALL:
            break
        lines.append(line)
    return "\n".join(lines)


def _unreadable(reason: str, unreachable: str) -> str:
    """Return why nothing may be fetched if a file of rules could not be read; "" if it was, or there is none."""
    if UNREACHABLE.fullmatch(reason):
        return unreachable
    return "" if reason in READ or ABSENT.fullmatch(reason) else reason


def refusal_by_rules(rules: Rules, url: str) -> str:
    """Return "" if the rules of its host allow a URL, else the reason why not."""
    if rules.refusal:
        return rules.refusal
    if rules.robots is not None and not rules.robots.can_fetch(url, USER_AGENT):
        return "robots_txt"
    return (
        "tdm_reserved" if rules.reservations is not None and not rules.reservations.can_fetch(url, USER_AGENT) else ""
    )


def _crawl_delay(robots: Protego) -> float:
    """Return the seconds between two requests by Crawl-delay or Request-rate; 0 if robots.txt has neither."""
    rate = robots.request_rate(USER_AGENT)
    return max(robots.crawl_delay(USER_AGENT) or 0.0, rate.seconds / rate.requests if rate else 0.0)


def parse_tdmrep(body: bytes) -> Protego | None:
    """Parse tdmrep.json; None if it reserves nothing.

    TDMRep matches locations as robots.txt matches paths, the longest first, so they are read as a robots.txt.
    """
    try:
        rules = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = rules[:MAX_RULES] if isinstance(rules, list) else []
    lines = [_as_robots(rule) for rule in found if isinstance(rule, dict)]
    return Protego.parse("\n".join(["User-agent: *", *lines])) if any(lines) else None


def _as_robots(rule: dict[str, Any]) -> str:
    where, reserved = rule.get("location"), rule.get("tdm-reservation")
    if not isinstance(where, str) or not where.isprintable() or str(reserved) not in {"0", "1"}:
        return ""
    path = where.replace("#", "%23")  # `#` would begin a comment
    return f"{'Disallow' if str(reserved) == '1' else 'Allow'}: {path if path.startswith(('/', '*')) else f'/{path}'}"


def refusal_of(tags: Iterable[str], reservation: str) -> str:
    """Return what the headers X-Robots-Tag and tdm-reservation refuse, as a reason for a row; "" if nothing."""
    return _refusal_by_words({word for tag in tags for word in _own_directives(tag)}, reservation)


def _refusal_by_words(words: set[str], reservation: str) -> str:
    if reservation.strip() == "1":
        return "tdm_reserved"
    return next((word for word in FORBIDDING if word in words), "noindex" if "none" in words else "")


def _own_directives(tag: str) -> Iterator[str]:
    """Yield the directives of one X-Robots-Tag that apply: `noai`, `fer-pipeline: noai`, but not `otherbot: noai`.

    A user agent applies to all directives behind it, up to the next one: proxies join several headers into one.
    """
    agent = USER_AGENT
    for part in tag.lower().split(","):
        word, colon, value = (piece.strip() for piece in part.partition(":"))
        if colon and AGENT.fullmatch(word) and word not in DIRECTIVES:
            agent, word = word, value.partition(":")[0].strip()
        if agent in {USER_AGENT, "*"}:
            yield word


def refusal_in_page(body: bytes) -> str:
    """Return what a page refuses for its pictures, by `<meta>` named `robots`, fer-pipeline or `tdm-reservation`."""
    metas = read_metas(body)
    texts = (text for name, text in metas if name in {"robots", USER_AGENT})
    words = {part.partition(":")[0].strip() for text in texts for part in text.lower().split(",")}
    return _refusal_by_words(words, dict(metas).get("tdm-reservation", ""))
