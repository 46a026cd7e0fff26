"""Metrics of the server in the text format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


class Telemetry:
    """The metrics of one application; no label comes from a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fer_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "fer_request_seconds", "From the first byte to the response", buckets=SECONDS, registry=self.registry
        )
        self.pictures = Counter("fer_pictures", "Pictures by outcome", ["outcome"], registry=self.registry)
        self.failed = Counter(
            "fer_pictures_failed", "Bad images by reason: raised, died, late", ["reason"], registry=self.registry
        )
        self.queue = Gauge("fer_queue_requests", "Requests waiting or in work", registry=self.registry)
        self.frames = Counter("fer_live_frames", "Frames of live connections", ["outcome"], registry=self.registry)
        self.live = Gauge("fer_live_connections", "Live connections", registry=self.registry)

    def render(self) -> bytes:
        """All metrics as Prometheus scrapes them."""
        return generate_latest(self.registry)
