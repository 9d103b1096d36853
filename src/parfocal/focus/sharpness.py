"""What the frames themselves say of their focus: how sharp one is, and which of two is sharper in what both show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal.focus.peak import central_sharpness, log_sharpness
from parfocal.merit import tenengrad

Frame = NDArray[np.uint8]

_BLANK_LEVELS = 2
_SEARCH_PX = 24
_LEAST_SHARED_PX = 24
_HIGH_PASS_PX = 41  # a box, whose cost does not grow with it
_LEAST_CORRELATION = 0.3


class Sharpness(Protocol):
    """How sharp frames are."""

    def is_blank(self, frame: Frame) -> bool:
        """Whether a frame holds no picture at all, as when a camera returns a dead one."""

    def centre(self, frame: Frame) -> float:
        """ln (Tenengrad / mean²) of the centre, where best focus is defined."""

    def whole(self, frame: Frame) -> float:
        """A score that grows with the sharpness of the whole frame."""

    def edges(self, frame: Frame) -> Any:
        """What `compare` needs of a frame, so that the frame itself need not be kept."""

    def compare(self, edges: Any, other: Any, apart_px: tuple[float, float]) -> float | None:
        """ln sharpness of the frame less that of the other one in what both show.

        Args:
            edges: of the frame, by `edges`.
            other: of another frame.
            apart_px: (dx, dy) of the other one's corner less that of the frame, in pixels, as the stage says.

        Returns:
            The difference; None where they share too little, or nothing that both show can be found.
        """


@dataclass(frozen=True)
class Edges:
    """The green channel of a frame's four borders, uint8, and the frame's (Y, X)."""

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    top: NDArray[np.uint8]
    bottom: NDArray[np.uint8]
    shape: tuple[int, int]


class FrameSharpness:
    """Sharpness of real frames.

    Args:
        scale: size of a frame's pixel over that of a canonical pixel.
        border: share of the frame's side that neighbours may share, the stage's error included.
    """

    def __init__(self, scale: float, border: float = 0.2) -> None:
        self._scale = scale
        self._border = border

    def is_blank(self, frame: Frame) -> bool:
        """Whether all pixels are alike: empty glass is not, it has noise."""
        return int(frame.max()) - int(frame.min()) <= _BLANK_LEVELS

    def centre(self, frame: Frame) -> float:
        """See `Sharpness`."""
        return central_sharpness(frame, self._scale)

    def whole(self, frame: Frame) -> float:
        """Tenengrad of the frame."""
        return tenengrad(frame)

    def edges(self, frame: Frame) -> Edges:
        """See `Sharpness`."""
        plane = frame[..., 1]
        rows, columns = (max(1, round(self._border * n)) for n in plane.shape)
        views = (plane[:, :columns], plane[:, -columns:], plane[:rows], plane[-rows:])
        left, right, top, bottom = (np.ascontiguousarray(view) for view in views)
        return Edges(left, right, top, bottom, (plane.shape[0], plane.shape[1]))

    def compare(self, edges: Edges, other: Edges, apart_px: tuple[float, float]) -> float | None:
        """See `Sharpness`. The two views are registered first: stages err by more than a pixel."""
        mine, theirs, dx, dy = _facing(edges, other, round(apart_px[0]), round(apart_px[1]))
        seen = _shared(mine, theirs, dx, dy)
        if min(seen[0].shape) < _LEAST_SHARED_PX:
            return None
        off_x, off_y = _offset(*seen)
        if max(abs(off_x), abs(off_y)) > _SEARCH_PX:
            return None
        a, b = _shared(mine, theirs, dx + off_x, dy + off_y)
        if min(a.shape) < _LEAST_SHARED_PX or _correlation(a, b) < _LEAST_CORRELATION:
            return None
        return log_sharpness(a) - log_sharpness(b)


def _facing(edges: Edges, other: Edges, dx: int, dy: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int, int]:
    """The borders by which two frames meet, and the distance (x, y) of those borders' corners in pixels."""
    if abs(dx) >= abs(dy):
        away = edges.shape[1] - edges.left.shape[1]
        return (edges.right, other.left, dx - away, dy) if dx > 0 else (edges.left, other.right, dx + away, dy)
    away = edges.shape[0] - edges.top.shape[0]
    return (edges.bottom, other.top, dx, dy - away) if dy > 0 else (edges.top, other.bottom, dx, dy + away)


def _shared(a: NDArray[np.uint8], b: NDArray[np.uint8], dx: int, dy: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The parts of two pictures of one shape (Y, X) that overlap when b's corner lies (dx, dy) from a's."""
    rows, columns = a.shape
    of_a = a[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
    of_b = b[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
    return of_a, of_b


def _offset(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[int, int]:
    """Whole pixels (x, y) by which b's view must be moved on to lie over a's."""
    window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(_high_pass(b), _high_pass(a), window)
    return round(x), round(y)


def _high_pass(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    plane = view.astype(np.float32)
    return np.asarray(plane - cv2.blur(plane, (_HIGH_PASS_PX, _HIGH_PASS_PX)), dtype=np.float32)


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    x, y = (_high_pass(view).ravel() for view in (a, b))
    return float(x @ y / max(math.sqrt(float(x @ x) * float(y @ y)), 1e-9))
