"""A scan that waits: paused and continued, or ended, from another thread, a key or a web page."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition

from parfocal.devices.base import Lamp

_LOOK_EVERY_S = 0.2


class ScanSwitch:
    """What a scan asks between two fields. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_paused = False
        self._is_stopped = False

    @property
    def is_paused(self) -> bool:
        """Whether the scan is to wait. It does once the field under way is done."""
        return self._is_paused

    @property
    def is_stopped(self) -> bool:
        """Whether the scan is to end."""
        return self._is_stopped

    def pause(self) -> None:
        """Let the scan wait after the field under way, its lamp off."""
        self._set(is_paused=True)

    def go_on(self) -> None:
        """Let a waiting scan go on."""
        self._set(is_paused=False)

    def toggle(self) -> None:
        """Pause a scan that runs, continue one that waits."""
        self._set(is_paused=not self._is_paused)

    def stop(self) -> None:
        """End the scan after the field under way. It can be resumed."""
        self._set(is_stopped=True)

    def wait(self, lamp: Lamp, while_waiting: Callable[[], None]) -> bool:
        """Return at once, or when a paused scan is to go on. The lamp is off meanwhile.

        Args:
            lamp: lit.
            while_waiting: called a few times a second.

        Returns:
            Whether the scan goes on; False where it is to end.
        """
        if self._is_paused and not self._is_stopped:
            lamp.off()
            with self._changed:
                while self._is_paused and not self._is_stopped:
                    self._changed.wait(_LOOK_EVERY_S)
                    while_waiting()
            lamp.on()
        return not self._is_stopped

    def _set(self, *, is_paused: bool | None = None, is_stopped: bool | None = None) -> None:
        with self._changed:
            self._is_paused = self._is_paused if is_paused is None else is_paused
            self._is_stopped = self._is_stopped if is_stopped is None else is_stopped
            self._changed.notify_all()
