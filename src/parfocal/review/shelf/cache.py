"""A cache whose memory is bounded by what it holds, not by how many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock


class BytesCache:
    """Keeps encoded pictures, and forgets those that were not asked for the longest. Safe in several threads.

    Args:
        most_bytes: what all of them together may take.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0

    def get(self, key: Hashable) -> bytes | None:
        """What was kept under this key, if it is still here."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: Hashable, value: bytes) -> None:
        """Keep it; what is larger than the whole cache is not kept."""
        if len(value) > self._most:
            return
        with self._lock:
            self.bytes += len(value) - len(self._held.pop(key, b""))
            self._held[key] = value
            while self.bytes > self._most:
                self.bytes -= len(self._held.popitem(last=False)[1])
