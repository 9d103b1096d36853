"""Time on a real instrument: the clock on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait


class WallClock:
    """Seconds since it was made. Thinking takes the time that it takes."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the instrument was opened."""
        return time.monotonic() - self._began_s

    def spend(self, duration_s: float) -> None:
        """Nothing: work has taken its time already."""

    def together(self, *actions: Callable[[], None]) -> None:
        """Do things at the same time, each on a thread of its own, and wait for all of them.

        All of them end before the first error, in the order given, is raised.
        """
        if not actions:
            return
        with ThreadPoolExecutor(max_workers=len(actions), thread_name_prefix="together") as threads:
            doing = [threads.submit(action) for action in actions]
            wait(doing)
        for action in doing:
            action.result()
