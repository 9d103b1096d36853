"""The journal of a scan: every move's intent and result, searches, beginnings and ends; and a beat at each of them.

Stages and camera are wrapped, so that no move can be forgotten. Writing is the business of another thread: what is
noted here is put in order, and nothing waits for a disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from parfocal.devices.base import Camera, Frame, Homing, XYStage, ZStage
from parfocal.devices.microscope import Microscope
from parfocal.errors import InstrumentError

Beat = Callable[[], None]
"""Called at every move and exposure: whoever watches knows that the scan has not hung."""


_REFERENCE = "reference"  # where a move goes that finds the zero again


class Journal(Protocol):
    """Takes what happens (`slide.fields_writer.FieldsWriter`)."""

    def note(self, what: str, **values: Any) -> None:
        """Something happened, in a word or two; values as JSON has them."""


class NoJournal:
    """Forgets everything: for runs that are measured and thrown away."""

    def note(self, what: str, **values: Any) -> None:
        """Nothing is kept."""


def no_beat() -> None:
    """Nobody watches."""


def journalled(microscope: Microscope, journal: Journal, beat: Beat) -> Microscope:
    """The same instrument, whose moves are noted and whose moves and exposures beat."""
    return replace(
        microscope,
        camera=JournalledCamera(microscope.camera, beat),
        xy=JournalledXY(microscope.xy, journal, beat),
        z=JournalledZ(microscope.z, journal, beat),
    )


class JournalledXY:
    """An x-y stage whose moves are noted, before and after."""

    def __init__(self, stage: XYStage, journal: Journal, beat: Beat) -> None:
        self._stage, self._journal, self._beat = stage, journal, beat
        if isinstance(stage, Homing):
            self.home = partial(self._home, stage)

    @property
    def position_um(self) -> tuple[float, float]:
        """Position (x_um, y_um) as the stage reports it."""
        return self._stage.position_um

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """((x_min, x_max), (y_min, y_max)) in µm."""
        return self._stage.limits_um

    def move_to(self, x_um: float, y_um: float) -> None:
        """Move and settle. Raises as the stage does."""
        target = [round(x_um, 3), round(y_um, 3)]
        with _Noted(self._journal, self._beat, "xy", target) as noted:
            self._stage.move_to(x_um, y_um)
            noted.at = [round(axis_um, 3) for axis_um in self._stage.position_um]

    def _home(self, stage: Homing) -> None:
        """See `devices.base.Homing`."""
        with _Noted(self._journal, self._beat, "xy", _REFERENCE) as noted:
            stage.home()
            noted.at = [round(axis_um, 3) for axis_um in self._stage.position_um]


class JournalledZ:
    """A z stage whose moves are noted, before and after."""

    def __init__(self, stage: ZStage, journal: Journal, beat: Beat) -> None:
        self._stage, self._journal, self._beat = stage, journal, beat
        if isinstance(stage, Homing):
            self.home = partial(self._home, stage)

    @property
    def position_um(self) -> float:
        """Position in µm as the stage reports it."""
        return self._stage.position_um

    @property
    def limits_um(self) -> tuple[float, float]:
        """(lowest, highest) position in µm."""
        return self._stage.limits_um

    def move_to(self, z_um: float) -> None:
        """Move and settle. Raises as the stage does."""
        with _Noted(self._journal, self._beat, "z", round(z_um, 3)) as noted:
            self._stage.move_to(z_um)
            noted.at = round(self._stage.position_um, 3)

    def _home(self, stage: Homing) -> None:
        """See `devices.base.Homing`."""
        with _Noted(self._journal, self._beat, "z", _REFERENCE) as noted:
            stage.home()
            noted.at = round(self._stage.position_um, 3)


class JournalledCamera:
    """A camera whose exposures beat; what became of them stands in the records of the fields."""

    def __init__(self, camera: Camera, beat: Beat) -> None:
        self._camera, self._beat = camera, beat

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._camera.frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a frame's pixel in the specimen plane, in µm."""
        return self._camera.pixel_size_um

    def snap(self) -> Frame:
        """Expose one frame, uint8 (Y, X, 3). Raises as the camera does."""
        self._beat()
        frame = self._camera.snap()
        self._beat()
        return frame


class _Noted:
    """A move: its intent is noted on entry, its result on exit."""

    def __init__(self, journal: Journal, beat: Beat, axis: str, target_um: Any) -> None:
        self._journal, self._beat, self._axis = journal, beat, axis
        self._target_um = target_um
        self.at: Any = None

    def __enter__(self) -> _Noted:
        self._beat()
        self._journal.note("move", axis=self._axis, to_um=self._target_um)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            self._journal.note("arrived", axis=self._axis, at_um=self.at)
        elif isinstance(error, InstrumentError):
            self._journal.note("not arrived", axis=self._axis, why=str(error))
        self._beat()
