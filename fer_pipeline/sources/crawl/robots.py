"""What the owner of a host allows: robots.txt (RFC 9309), TDM reservation (W3C TDMRep) and X-Robots-Tag."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from protego import Protego

from fer_pipeline.sources.crawl.parsers import read_metas
from fer_pipeline.sources.crawl.politeness import NAME

MOST = 512_000  # bytes of rules that are read; RFC 9309 asks for 500 KiB
UNKNOWN = re.compile(r"http_(?:429|5\d\d)")  # there may be rules, and we cannot know them
READ = frozenset({"", "too_large"})
NONE = re.compile(r"http_\d+|redirects")  # there are none (RFC 9309, 2.3.1); any other reason is a host that is dead
NO = ("noai", "noimageai", "noindex", "noimageindex")  # `none` is noindex, nofollow
ROBOT = re.compile(r"\*|[a-z][\w.+-]*")  # what may be the name of one; a date has other words before its colons
VALUED = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}  # these have colons themselves
PLAIN = {"all", "none", "index", "follow", "nofollow", "noarchive", "nocache", "nosnippet", "notranslate", "noodp"}
DIRECTIVES = VALUED | PLAIN | {"indexifembedded", "noydir", "nositelinkssearchbox", "notrain", *NO}
REFUSED = frozenset({"robots_txt", "robots_unreachable", "tdm_reserved", "tdm_unreachable", *NO})  # reasons of rows
ReadRules = Callable[[str, int], tuple[bytes, str]]  # URL, most bytes -> body, reason why there is none


@dataclass(frozen=True)
class Rules:
    """What one host allows; `refusal` is the reason where it allows nothing."""

    refusal: str = ""
    robots: Protego | None = None
    reserved: Protego | None = None


@dataclass
class _Host:
    lock: threading.Lock = field(default_factory=threading.Lock)
    rules: Rules | None = None


class Permission:
    """Asks each host once for its rules; other threads that want the same host wait meanwhile."""

    def __init__(self, read: ReadRules, slow_down: Callable[[str, float], None]) -> None:
        self._read, self._slow_down = read, slow_down
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def check(self, url: str) -> str:
        """Whether a normalised URL may be fetched: "" or the reason why not."""
        parts = urlsplit(url)
        home = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            host = self._hosts.setdefault(home, _Host())
        with host.lock:
            if host.rules is None:
                host.rules = self._ask(home)
        return judge(host.rules, url)

    def _ask(self, home: str) -> Rules:
        """Read both files; a host that cannot tell them is asked for nothing more in this crawl."""
        body, reason = self._read(f"{home}/robots.txt", MOST)
        if refusal := _unknown(reason, "robots_unreachable"):
            return Rules(refusal=refusal)
        robots = Protego.parse(body[:MOST].decode("utf-8-sig", "replace")) if reason in READ else None
        if robots is not None:
            self._slow_down(home, _pause(robots))
        body, reason = self._read(f"{home}/.well-known/tdmrep.json", MOST)
        is_page = body.lstrip()[:1] == b"<"  # many sites show their home page in place of what they have not
        if (refusal := _unknown(reason, "tdm_unreachable")) or (reason == "too_large" and not is_page):
            return Rules(refusal=refusal or "tdm_unreachable")
        return Rules(robots=robots, reserved=parse_tdmrep(body) if not reason else None)


def _unknown(reason: str, unreachable: str) -> str:
    """Why nothing may be fetched, if a file of rules could not be read; "" if it was, or there is none."""
    if UNKNOWN.fullmatch(reason):
        return unreachable
    return "" if reason in READ or NONE.fullmatch(reason) else reason


def judge(rules: Rules, url: str) -> str:
    """Whether the rules of its host allow a URL: "" or the reason why not."""
    if rules.refusal:
        return rules.refusal
    if rules.robots is not None and not rules.robots.can_fetch(url, NAME):
        return "robots_txt"
    return "tdm_reserved" if rules.reserved is not None and not rules.reserved.can_fetch(url, NAME) else ""


def _pause(robots: Protego) -> float:
    """Seconds between two requests that robots.txt asks for; 0 if it does not say."""
    rate = robots.request_rate(NAME)
    return max(robots.crawl_delay(NAME) or 0.0, rate.seconds / rate.requests if rate else 0.0)


def parse_tdmrep(body: bytes) -> Protego | None:
    """The reservations of a host; None if there are none.

    The specification matches locations as robots.txt matches paths, the longest first, so they are read as one.
    """
    try:
        rules = json.loads(body)
    except (ValueError, RecursionError):
        return None
    lines = [_as_robots(rule) for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return Protego.parse("\n".join(["User-agent: *", *lines])) if any(lines) else None


def _as_robots(rule: dict[str, Any]) -> str:
    where, reserved = rule.get("location"), rule.get("tdm-reservation")
    if not isinstance(where, str) or not where.isprintable() or str(reserved) not in {"0", "1"}:
        return ""
    path = where.replace("#", "%23")  # which would begin a comment
    return f"{'Disallow' if str(reserved) == '1' else 'Allow'}: {path if path.startswith(('/', '*')) else f'/{path}'}"


def refusal_of(tags: Iterable[str], reservation: str) -> str:
    """What the headers of an answer refuse: the values of X-Robots-Tag and of tdm-reservation; "" if nothing."""
    return _judge_words({word for tag in tags for word in _words_for_us(tag)}, reservation)


def _judge_words(words: set[str], reservation: str) -> str:
    if reservation.strip() == "1":
        return "tdm_reserved"
    return next((no for no in NO if no in words), "noindex" if "none" in words else "")


def _words_for_us(tag: str) -> Iterator[str]:
    """The words of one X-Robots-Tag that concern us: `noai`, or `fer-pipeline: noai`, but not `otherbot: noai`.

    A robot's name holds for all words behind it, up to the next name: proxies write several tags as one.
    """
    name = NAME
    for part in tag.lower().split(","):
        word, colon, value = (piece.strip() for piece in part.partition(":"))
        if colon and ROBOT.fullmatch(word) and word not in DIRECTIVES:
            name, word = word, value.partition(":")[0].strip()
        if name in {NAME, "*"}:
            yield word


def refusal_in_page(body: bytes) -> str:
    """What a page refuses for the pictures on it, by `<meta name="robots">`, our name or `tdm-reservation`."""
    metas = read_metas(body)
    texts = (text for name, text in metas if name in {"robots", NAME})
    words = {part.partition(":")[0].strip() for text in texts for part in text.lower().split(",")}
    return _judge_words(words, dict(metas).get("tdm-reservation", ""))
