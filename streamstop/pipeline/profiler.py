"""Speed and memory of a run, in bounded space."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from river import stats


class RunProfiler:
    """Measures wall time, quantiles of the time per bin (P-square estimates), resident memory."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._p50 = stats.Quantile(0.5)
        self._p99 = stats.Quantile(0.99)
        self._latency = (stats.Quantile(0.5), stats.Quantile(0.99))
        self._answers = 0
        self._started = time.perf_counter()
        self._stopped: float | None = None
        self.steps = 0

    def start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()
        self.rss_start = self.rss_peak = self.rss_end = self._process.memory_info().rss

    def stop(self) -> None:
        """Stop the clock."""
        self._stopped = time.perf_counter()
        self.sample()

    def sample(self) -> None:
        """Measure the resident memory."""
        self.rss_end = self._process.memory_info().rss
        self.rss_peak = max(self.rss_peak, self.rss_end)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time one bin."""
        before = time.perf_counter()
        yield
        took = (time.perf_counter() - before) * 1e3
        self.steps += 1
        self._p50.update(took)
        self._p99.update(took)

    def answered(self, arrived_s: float) -> None:
        """Note a prediction whose latest events arrived at `arrived_s` (monotonic clock)."""
        took = (time.monotonic() - arrived_s) * 1e3
        self._answers += 1
        for quantile in self._latency:
            quantile.update(took)

    def latency_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile from event to prediction, in ms; None where none was timed."""
        if not self._answers:
            return None, None
        p50, p99 = (quantile.get() for quantile in self._latency)
        return p50, p99

    @property
    def wall_s(self) -> float:
        """Seconds since `start`, until `stop`."""
        return (self._stopped or time.perf_counter()) - self._started

    def step_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile of a bin's time, in ms; None before the first."""
        if not self.steps:
            return None, None
        return self._p50.get(), self._p99.get()
