"""One thread that does work in order, behind a bounded queue: who gives the work seldom waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class WriterThread:
    """Does what it is given, one after the other. After a failure nothing more is done: lines would be missing.

    Args:
        depth: pieces of work that may wait; giving one more waits until there is room.
        light_depth: the same of light work.
    """

    def __init__(self, depth: int, light_depth: int) -> None:
        self._depth, self._light_depth = depth, light_depth
        self._pending: deque[Future[None]] = deque()
        self._light: deque[Future[None]] = deque()
        self._light_failure: BaseException | None = None
        self._broken = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fields")

    @property
    def has_room(self) -> bool:
        """Whether work given now would not wait."""
        return sum(not job.done() for job in self._pending) < self._depth

    def give(self, work: Callable[[], None]) -> None:
        """Queue work. Raises what went wrong in work given before."""
        self.settle(self._depth - 1)
        self._pending.append(self._thread.submit(self._do, work))

    def give_light(self, work: Callable[[], None]) -> None:
        """Queue light work. It raises nothing, for this is called amid moves: `give` and `settle` do."""
        self._settle_light(self._light_depth - 1)
        self._light.append(self._thread.submit(self._do, work))

    def settle(self, depth: int = 0) -> None:
        """Wait until at most `depth` pieces of work are under way, and raise what went wrong in those that are done."""
        self._settle_light(self._light_depth if depth else 0)
        while self._pending and (len(self._pending) > depth or self._pending[0].done()):
            self._pending.popleft().result()
        failure, self._light_failure = self._light_failure, None
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Wait for all work and end the thread."""
        self._thread.shutdown(wait=True)

    def _settle_light(self, depth: int) -> None:
        while self._light and (len(self._light) > depth or self._light[0].done()):
            self._light_failure = self._light.popleft().exception() or self._light_failure

    def _do(self, work: Callable[[], None]) -> None:
        if self._broken:
            return
        self._broken = True
        work()
        self._broken = False
