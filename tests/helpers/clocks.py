"""A clock that only sleeping moves: tests of times that do not depend on how busy a machine is."""

from __future__ import annotations


class Watch:
    """Stands in for `time.monotonic`, and its `sleep` for `time.sleep`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
