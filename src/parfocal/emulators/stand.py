"""What an emulated board moves: stages, lamp and camera of a simulated microscope, in the time that real ones take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope

Place = tuple[float, float, float]
"""Commanded (x, y, z) in µm."""

AtWork = Callable[[], AbstractContextManager[None]]
"""Entered for as long as an emulated device does what the real one does on its own processor."""


class Stand:
    """A simulated microscope on real time: a move lasts, and whoever looks meanwhile sees it under way.

    Args:
        microscope: a simulated one; its clock is not looked at.
        haste: by how much moves are faster than their durations say; math.inf for no time at all.
        stale_frames: how many frames old a picture from the camera is, as with cameras that keep a queue.
        at_work: entered by whatever emulates a device over this, while it works.
    """

    def __init__(
        self, microscope: Microscope, haste: float = 1.0, stale_frames: int = 0, at_work: AtWork = nullcontext
    ) -> None:
        self.microscope = microscope
        self.at_work = at_work
        self._haste = haste
        self._lock = threading.RLock()
        self._from = self._to = (*microscope.xy.position_um, microscope.z.position_um)
        self._began_s = 0.0
        self._lasts_s = 0.0
        self._queue: deque[Frame] = deque()
        self._stale_frames = stale_frames
        self.blind = False
        self.frozen: Frame | None = None

    @property
    def place_um(self) -> Place:
        """Where the drives stand now, in µm; between two places while they move."""
        with self._lock:
            share = self._share()
            x, y, z = (a + (b - a) * share for a, b in zip(self._from, self._to, strict=True))
            return x, y, z

    @property
    def is_moving(self) -> bool:
        """Whether a move is under way."""
        with self._lock:
            return self._share() < 1

    def start(self, target_um: Place, duration_s: float) -> None:
        """Begin a move from where the drives stand.

        Args:
            target_um: (x, y, z) within what `fits` allows.
            duration_s: how long it takes without haste.
        """
        with self._lock:
            self._bring()
            self._from, self._to = self.place_um, target_um
            self._began_s, self._lasts_s = time.monotonic(), duration_s / self._haste

    def halt(self) -> None:
        """Stop where the drives stand."""
        with self._lock:
            self._bring()
            self._from = self._to = self.place_um
            self._lasts_s = 0.0

    def fits(self, target_um: Place) -> bool:
        """Whether the mechanics reach so far."""
        limits_um = (*self.microscope.xy.limits_um, self.microscope.z.limits_um)
        return all(low <= um <= high for um, (low, high) in zip(target_um, limits_um, strict=True))

    def switch(self, is_on: bool) -> None:
        """Light the lamp, or put it out."""
        with self._lock:
            (self.microscope.lamp.on if is_on else self.microscope.lamp.off)()

    def snap(self) -> Frame:
        """Expose a frame where the stage is now, uint8 (Y, X, 3); what comes back may be older, black or always one."""
        with self._lock:
            self._bring()
            self._queue.append(self.microscope.camera.snap())
            while len(self._queue) <= self._stale_frames:
                self._queue.append(self._queue[-1])
            frame = self._queue.popleft()
            if self.blind:
                return frame * 0
            return frame if self.frozen is None else self.frozen

    def _share(self) -> float:
        if self._lasts_s == 0:
            return 1.0
        return min(1.0, (time.monotonic() - self._began_s) / self._lasts_s)

    def _bring(self) -> None:
        """Drive the simulated stages to where the drives stand; their play and errors do the rest."""
        x, y, z = self.place_um
        self.microscope.xy.move_to(x, y)
        self.microscope.z.move_to(z)
