"""What Prometheus reads at ``/metrics``: requests, errors, latency, batches, and which columns drift."""

from typing import Any

import prometheus_client as prometheus

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # seconds
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts since the server started.

    Args:
        about: Labels of ``kindling_model_info``: what is served, e.g. ``network``, ``checkpoint``, ``version``.
    """

    def __init__(self, **about: str) -> None:
        prometheus.disable_created_metrics()  # a second series for each, which nobody reads
        registry = self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)  # memory, CPU, open files; under the names that dashboards know
        prometheus.Info("kindling_model", "What is served.", registry=registry).info(about)
        self.under_way = 0  # requests
        gauge = prometheus.Gauge("kindling_requests_in_progress", "Requests under way.", registry=registry)
        gauge.set_function(lambda: self.under_way)
        self._requests = prometheus.Counter(
            "kindling_requests", "Requests, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = prometheus.Histogram(
            "kindling_request_duration_seconds",
            "From the request's head to the answer's end.",
            ["route"],
            buckets=LATENCIES,
            registry=registry,
        )
        self._batch = prometheus.Histogram(
            "kindling_batch_size", "Samples that the network took at once.", buckets=BATCHES, registry=registry
        )
        self._rows = prometheus.Counter("kindling_rows", "Samples that were answered.", registry=registry)
        self._drift = prometheus.Counter(
            "kindling_drift",
            "Values that were missing, unknown to the training, or outside of its range, by column.",
            ["column", "kind"],
            registry=registry,
        )
        self._of: dict[tuple[str, int], tuple[Any, Any]] = {}  # looking a series up takes longer than counting

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            route: Of a fixed set, so that nobody can fill the memory with new ones.
        """
        series = self._of.get((route, status))
        if series is None:
            series = self._requests.labels(route, status), self._seconds.labels(route)
            self._of[route, status] = series
        series[0].inc()
        series[1].observe(seconds)

    def batch(self, size: int) -> None:
        self._batch.observe(size)

    def rows(self, count: int) -> None:
        self._rows.inc(count)

    def drift(self, column: str, what: str, count: int = 1) -> None:
        """
        Args:
            column: One of the data's own.
            what: ``missing``, ``unknown`` or ``outside``.
        """
        self._drift.labels(column, what).inc(count)

    def text(self) -> bytes:
        """In Prometheus' text format, whose content type is ``text/plain; version=0.0.4; charset=utf-8``."""
        return prometheus.generate_latest(self._registry)
