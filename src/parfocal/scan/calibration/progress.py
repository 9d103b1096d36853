"""How a calibration says how far it is."""

from __future__ import annotations

from collections.abc import Callable

OnStep = Callable[[int, int], None]
"""Called with how much of a step is done, of how much."""

OnProgress = Callable[[str, int, int], None]
"""Called with the step's name first."""


def silent(*_progress: object) -> None:
    """Nobody is told."""
