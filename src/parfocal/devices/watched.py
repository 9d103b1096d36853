"""Devices of an instrument under watch: a frame that is none, a move that did not arrive and a lamp that disobeys are
noticed, tried again where that is safe, and otherwise end in an error that says what happened.

A stage that dropped off its line may have lost its place. It is gone on with only if it still knows it; else the scan
stops, and resuming it finds the place again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from parfocal.devices.base import Camera, Frame, Homing, Lamp, RecordedZ, XYStage, ZStage
from parfocal.devices.line import Beat, Line, Patience, no_beat
from parfocal.devices.microscope import Microscope
from parfocal.errors import DisconnectedError, InstrumentError

XY_ARRIVES_WITHIN_UM = 20.0
Z_ARRIVES_WITHIN_UM = 2.0
"""How far from its target a stage may say that it stands, in µm: no more than its steps and its control leave."""

_EVERY_ROW = 16  # of a frame is looked at: what is lost in transfer is lost in blocks of rows
_SAME_PLACE_UM = 0.5
_HOMES_WITHIN_S = 150.0  # longer than boards are given by their own drivers, and than any slow stage needs
_LAMP_TOLD = Callable[[bool], None]


@dataclass(frozen=True, kw_only=True)
class Reopening:
    """How each device is opened again after it dropped off; None where it cannot be."""

    camera: Callable[[], Camera] | None = None
    xy: Callable[[], XYStage] | None = None
    z: Callable[[], ZStage] | None = None
    lamp: Callable[[], Lamp] | None = None


def watched(
    microscope: Microscope,
    patience: Patience | None = None,
    *,
    beat: Beat = no_beat,
    lamp_told: _LAMP_TOLD | None = None,
    reopening: Reopening | None = None,
) -> Microscope:
    """The same instrument, its devices under watch.

    Args:
        microscope: the instrument.
        patience: time and tries of every call; the defaults if None.
        beat: called before every call of a device, so that somebody else sees that the scan goes on.
        lamp_told: called with True before the lamp is lit, and with False after it was put out.
        reopening: how devices that dropped off are opened again; none of them if None.
    """
    patience, again = patience or Patience(), reopening or Reopening()
    clock, repeats = microscope.clock, patience.repeats
    is_recorded = isinstance(microscope.z, RecordedZ)
    lamp = WatchedLamp(
        Line("lamp", microscope.lamp, clock, repeats=repeats, beat=beat, reopen=again.lamp), patience.lamp_s, lamp_told
    )
    camera_line = Line("camera", microscope.camera, clock, repeats=repeats, beat=beat, reopen=again.camera)
    xy_line = Line("x-y stage", microscope.xy, clock, repeats=repeats, beat=beat, reopen=again.xy)
    z_line = Line("z stage", microscope.z, clock, repeats=repeats, beat=beat, reopen=again.z)
    return replace(
        microscope,
        camera=WatchedCamera(camera_line, patience.snap_s, lambda: lamp.was_lit, differs=not is_recorded),
        xy=WatchedXY(xy_line, patience.xy_move_s),
        z=(WatchedRecordedZ if is_recorded else WatchedZ)(z_line, patience.z_move_s),
        lamp=lamp,
    )


class WatchedCamera:
    """A camera whose frames are looked at before they are believed.

    Args:
        line: to the camera.
        snap_s: how long a frame may take.
        is_lit: whether there should be light: without, a black frame is none to wonder about.
        differs: whether noise makes each frame another one, as on any real camera.
    """

    def __init__(self, line: Line[Camera], snap_s: float, is_lit: Callable[[], bool], *, differs: bool = True) -> None:
        self._line = line
        self._snap_s = snap_s
        self._is_lit = is_lit
        self._differs = differs
        self._frame_shape = line.device.frame_shape
        self._pixel_size_um = line.device.pixel_size_um
        self._before: Frame | None = None

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3). Raises InstrumentError if none comes, or none that can be one."""
        return self._line.call("snap", self._looked_at, self._snap_s)

    def _looked_at(self, camera: Camera) -> Frame:
        frame = camera.snap()
        wanted = (*self._frame_shape, 3)
        if frame.shape != wanted or frame.dtype != np.uint8:
            raise InstrumentError(f"a frame came as {frame.shape} {frame.dtype}, not as {wanted} uint8")
        rows = frame[::_EVERY_ROW]
        if self._is_lit():
            if not frame[-1].any() or not rows.any(axis=(1, 2)).all():
                raise InstrumentError("a frame came with rows that are black, though the lamp is lit")
            if rows.min() == 255:
                raise InstrumentError("a frame came saturated all over")
            if self._differs and self._before is not None and np.array_equal(rows, self._before):
                raise InstrumentError("the frame before came once more")
        self._before = rows.copy()
        return frame


class WatchedXY:
    """An x-y stage that must arrive where it was sent.

    Args:
        line: to the stage.
        move_s: how long a move may take.
    """

    def __init__(self, line: Line[XYStage], move_s: float) -> None:
        self._line = line
        self._move_s = move_s
        self._place = _Place(line.name, XY_ARRIVES_WITHIN_UM)
        if isinstance(line.device, Homing):
            self.home = self._home

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""

        def ask(stage: XYStage) -> tuple[float, float]:
            self._place.check_kept(self._line.openings, stage.position_um)
            return stage.position_um

        return self._line.call("position", ask, self._move_s)

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._line.device.limits_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""

        def move(stage: XYStage) -> None:
            self._place.check_kept(self._line.openings, stage.position_um)
            self._place.leave_for((x_um, y_um), stage.position_um)
            stage.move_to(x_um, y_um)
            self._place.arrive(stage.position_um)

        self._line.call(f"move to ({x_um:.1f}, {y_um:.1f}) µm", move, self._move_s)

    def _home(self) -> None:
        """See `devices.base.Homing`."""

        def home(stage: XYStage) -> None:
            assert isinstance(stage, Homing)
            stage.home()
            self._place.found(self._line.openings, stage.position_um)

        self._line.call("homing", home, _HOMES_WITHIN_S)


class WatchedZ:
    """A z stage that must arrive where it was sent.

    Args:
        line: to the stage.
        move_s: how long a move may take.
    """

    def __init__(self, line: Line[ZStage], move_s: float) -> None:
        self._line = line
        self._move_s = move_s
        self._place = _Place(line.name, Z_ARRIVES_WITHIN_UM)
        if isinstance(line.device, Homing):
            self.home = self._home

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it."""

        def ask(stage: ZStage) -> float:
            self._place.check_kept(self._line.openings, (stage.position_um,))
            return stage.position_um

        return self._line.call("position", ask, self._move_s)

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._line.device.limits_um

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises LimitError before any motion if the target lies outside the limits."""

        def move(stage: ZStage) -> None:
            self._place.check_kept(self._line.openings, (stage.position_um,))
            self._place.leave_for((z_um,), (stage.position_um,))
            stage.move_to(z_um)
            self._place.arrive((stage.position_um,))

        self._line.call(f"move to {z_um:.2f} µm", move, self._move_s)

    def _home(self) -> None:
        """See `devices.base.Homing`."""

        def home(stage: ZStage) -> None:
            assert isinstance(stage, Homing)
            stage.home()
            self._place.found(self._line.openings, (stage.position_um,))

        self._line.call("homing", home, _HOMES_WITHIN_S)


class WatchedRecordedZ(WatchedZ):
    """The same over a recorded stack, which answers a little more (`devices.base.RecordedZ`)."""

    def nearest_um(self, z_um: float) -> float:
        """The recorded position nearest to z_um, in µm."""
        return self._recorded.nearest_um(z_um)

    def nearest_pair_um(self, z_um: float, delta_um: float) -> tuple[float, float]:
        """The recorded pair in µm, about delta_um apart, whose first is nearest to z_um."""
        return self._recorded.nearest_pair_um(z_um, delta_um)

    @property
    def _recorded(self) -> RecordedZ:
        assert isinstance(self._line.device, RecordedZ)
        return self._line.device


class WatchedLamp:
    """A lamp that must do what it is told.

    Args:
        line: to the lamp.
        switch_s: how long switching may take.
        told: called with True before it is lit, and with False after it was put out.
    """

    def __init__(self, line: Line[Lamp], switch_s: float, told: _LAMP_TOLD | None = None) -> None:
        self._line = line
        self._switch_s = switch_s
        self._told = told
        self.was_lit = False

    @property
    def is_on(self) -> bool:
        """Whether the lamp is lit."""
        return self._line.call("state", lambda lamp: lamp.is_on, self._switch_s)

    def on(self) -> None:
        """Light it. Raises InstrumentError if it stays dark."""
        if self._told:
            self._told(True)
        self._switch(True)

    def off(self) -> None:
        """Put it out. Raises InstrumentError if it stays lit."""
        self._switch(False)
        if self._told:
            self._told(False)

    def _switch(self, wanted: bool) -> None:
        def switch(lamp: Lamp) -> None:
            (lamp.on if wanted else lamp.off)()
            if lamp.is_on != wanted:
                raise InstrumentError(f"the lamp stays {'dark' if wanted else 'lit'}")

        self._line.call("on" if wanted else "off", switch, self._switch_s, unheard=not wanted)
        self.was_lit = wanted


class _Place:
    """Where a stage was last known to stand, and whether it still knows it.

    Args:
        name: of the stage, for messages.
        within_um: how far from its target it may say that it stands.
    """

    def __init__(self, name: str, within_um: float) -> None:
        self._name = name
        self._within_um = within_um
        self._openings = 1
        self._known: tuple[tuple[float, ...], ...] = ()

    def check_kept(self, openings: int, position_um: tuple[float, ...]) -> None:
        """Raise unless a stage that was opened again stands where it was, or on the way to its target.

        A controller that lost power says 0, wherever it stands: 0 is never believed.
        """
        self._known = self._known or (position_um,)
        if openings == self._openings:
            return
        axes = zip(position_um, *self._known, strict=True)
        is_between = all(min(way) - _SAME_PLACE_UM <= at <= max(way) + _SAME_PLACE_UM for at, *way in axes)
        if not is_between or not any(position_um):
            raise DisconnectedError(
                f"the {self._name} dropped off and no longer knows its place: it was sent to "
                f"{_as_text(self._known[-1])} and now says {_as_text(position_um)}; one that lost power says 0, "
                "wherever it stands. Resume the scan, which finds the place again"
            )
        self._openings = openings

    def found(self, openings: int, position_um: tuple[float, ...]) -> None:
        """It has found its zero: what it says now is true, whatever was known before."""
        self._openings, self._known = openings, (position_um,)

    def leave_for(self, target_um: tuple[float, ...], position_um: tuple[float, ...]) -> None:
        """A move begins."""
        self._known = (position_um, target_um)

    def arrive(self, position_um: tuple[float, ...]) -> None:
        """A move has ended. Raises InstrumentError if the stage says that it stands elsewhere."""
        target_um = self._known[-1]
        apart_um = max(abs(at - wanted) for at, wanted in zip(position_um, target_um, strict=True))
        if not (math.isfinite(apart_um) and apart_um <= self._within_um):
            raise InstrumentError(
                f"the {self._name} says that it stands {apart_um:.1f} µm from where it was sent, more than "
                f"{self._within_um:g} µm"
            )
        self._known = (position_um,)


def _as_text(position_um: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:.2f}' for value in position_um)}) µm"
