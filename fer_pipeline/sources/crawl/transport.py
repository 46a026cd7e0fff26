"""Send requests: straight to a public address, through the proxy of the environment, or to the local gallery."""

import logging
import socket
import threading
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager
from urllib3.exceptions import ProtocolError
from urllib3.util import make_headers

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl.addresses import resolve
from fer_pipeline.sources.crawl.connections import MAX_HEAD, Budget, check_addresses, trust

HOSTS = 64  # whose connections are kept open
LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")


class Transport:
    """Sends requests by urllib3, over connections that are kept and used again; safe to use from many threads."""

    def __init__(self, config: CrawlConfig, agent: str, stop: threading.Event) -> None:
        self._config, self._budget = config, Budget(config.timeout, stop)
        self._headers = {"User-Agent": agent, "Accept-Encoding": "gzip"}
        self._pool: dict[str, Any] = {"num_pools": HOSTS, "maxsize": config.threads, "ssl_context": trust(self._budget)}
        self._has_proxy = _check_proxies()
        self._gallery = check_addresses(PoolManager(**self._pool), self._budget, allow_private=True)
        self._direct = check_addresses(PoolManager(**self._pool), self._budget, allow_private=config.allow_private)
        self._proxies: dict[str, PoolManager] = {}
        for name in LOGGERS:
            logging.getLogger(f"urllib3.{name}").addFilter(self._is_of_others)

    def send(self, url: str, max_bytes: int, *, is_local_gallery: bool = False) -> BaseHTTPResponse:
        """Request a normalised URL, and follow nothing; a body of about `max_bytes` is still to be read.

        PrivateAddress if that may not be; an HTTPError of urllib3 or an OSError without an answer.
        """
        manager = self._gallery if is_local_gallery else self._find_proxy(url) or self._direct
        try:
            response = self._ask(manager, url)
        except ProtocolError:
            if self._budget.has_connected:
                raise
            response = self._ask(manager, url)  # the server had closed the connection that was to be used again
        self._budget.begin(2 * max_bytes + MAX_HEAD)  # twice: the frames of many small chunks
        return response

    def _ask(self, manager: PoolManager, url: str) -> BaseHTTPResponse:
        self._budget.has_connected = False
        return manager.urlopen("GET", url, redirect=False, retries=False, preload_content=False, headers=self._headers)

    def _find_proxy(self, url: str) -> PoolManager | None:
        """Find the proxy for a URL; its address is its user's own choice, that of the URL is checked all the same."""
        proxy = select_proxy(url, get_environ_proxies(url)) if self._has_proxy else None
        if not proxy:
            return None
        self._check_host(url)
        if proxy not in self._proxies:
            user, password = get_auth_from_url(proxy)
            headers = make_headers(proxy_basic_auth=f"{user}:{password}") if user or password else {}
            address = proxy if "://" in proxy else f"http://{proxy}"
            manager = ProxyManager(address, proxy_headers=headers, **self._pool)
            self._proxies[proxy] = check_addresses(manager, self._budget, allow_private=True)
        return self._proxies[proxy]

    def _check_host(self, url: str) -> None:
        """A proxy resolves names by itself: what is private from here is not asked of it either."""
        parts = urlsplit(url)
        try:
            resolve(parts.hostname or "", parts.port or 0, allow_private=self._config.allow_private)
        except socket.gaierror:  # behind a proxy there may be no name service: then the proxy's own rules count
            return

    def _is_of_others(self, _: logging.LogRecord) -> bool:
        """Drop what urllib3 logs of our requests: their URLs may hold an API key."""
        return not self._budget.is_used

    def close(self) -> None:
        """Close all idle connections."""
        for manager in (self._gallery, self._direct, *self._proxies.values()):
            for key in manager.pools.keys():  # noqa: SIM118  no dictionary; `clear` leaves it to the garbage collector
                manager.pools[key].close()
        for name in LOGGERS:
            logging.getLogger(f"urllib3.{name}").removeFilter(self._is_of_others)


def _check_proxies() -> bool:
    """Whether the environment names a proxy; UsageError for a kind that is not supported."""
    named = {key: proxy for key, proxy in getproxies().items() if key in {"http", "https", "all"}}
    for key, proxy in named.items():
        if "://" in proxy and not proxy.startswith("http://"):
            raise UsageError(f"{key}_proxy={proxy.split('@')[-1]}: only http:// proxies are supported: name another")
    return bool(named)
