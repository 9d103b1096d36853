"""An instrument that plays a recorded z-stack. It stands at recorded planes only: nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from parfocal.devices.approach import ApproachSettings, GuardLimits, check_limits
from parfocal.devices.base import Frame
from parfocal.devices.microscope import Microscope
from parfocal.devices.simulated import SimulatedLamp, VirtualClock
from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective
from parfocal.stacks.recorded import RecordedStack

_STEPS_PER_DELTA = 2
_SHORTEST_PAIR = 0.9
_ROUNDING_UM = 1e-6
_OIL_INDEX = 1.515


class ReplayZStage:
    """A z stage without backlash that stops at the recorded plane nearest to its target.

    Args:
        planes_um: rising positions of the planes in µm.
        start_um: where it stands first, in µm.
    """

    def __init__(self, planes_um: tuple[float, ...], start_um: float) -> None:
        self._planes_um = np.asarray(planes_um, dtype=np.float64)
        self._index = self._nearest(start_um)

    @property
    def position_um(self) -> float:
        """Position of the plane in µm."""
        return float(self._planes_um[self._index])

    @property
    def plane_index(self) -> int:
        """Index of the plane in the stack."""
        return self._index

    @property
    def limits_um(self) -> tuple[float, float]:
        """(first plane, last plane) in µm."""
        return float(self._planes_um[0]), float(self._planes_um[-1])

    def move_to(self, z_um: float) -> None:
        """Go to the plane nearest to z_um. Raises LimitError before any motion if z_um is beyond the record."""
        check_limits("recorded z", z_um, self.limits_um)
        self._index = self._nearest(z_um)

    def nearest_um(self, z_um: float) -> float:
        """Position in µm of the plane nearest to z_um; an end of the record for a target beyond it."""
        return float(self._planes_um[self._nearest(z_um)])

    def nearest_pair_um(self, z_um: float, delta_um: float) -> tuple[float, float]:
        """The pair (first, second) in µm whose first plane is nearest to z_um among the planes that leave a pair.

        The second plane is the one nearest to delta_um above the first, at least 0.9 delta_um above it.

        Raises:
            SettingsError: if the record holds no such pair.
        """
        pairs = _pairs(self._planes_um, delta_um)
        if not pairs:
            first_um, last_um = self.limits_um
            raise SettingsError(
                f"no two planes of the record, {first_um:g} … {last_um:g} µm, are {delta_um:g} µm apart or more"
            )
        return min(pairs, key=lambda pair: abs(pair[0] - z_um))

    def _nearest(self, z_um: float) -> int:
        return int(np.argmin(np.abs(self._planes_um - z_um)))


class ReplayCamera:
    """Returns the recorded plane at which the z stage stands."""

    def __init__(self, stack: RecordedStack, z: ReplayZStage, pixel_size_um: float) -> None:
        self._stack = stack
        self._z = z
        self._pixel_size_um = pixel_size_um

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(Y, X) of a frame in pixels."""
        return self._stack.frame_shape

    @property
    def pixel_size_um(self) -> float:
        """Size of a pixel in the specimen plane, in µm."""
        return self._pixel_size_um

    def snap(self) -> Frame:
        """A copy of the plane, uint8 (Y, X, 3)."""
        return self._stack.planes[self._z.plane_index].copy()


class ReplayXYStage:
    """A recorded stack shows one field: the stage stands at (0, 0) and goes nowhere else."""

    @property
    def position_um(self) -> tuple[float, float]:
        """(0, 0)."""
        return 0.0, 0.0

    @property
    def limits_um(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Both axes from 0 to 0 µm."""
        return (0.0, 0.0), (0.0, 0.0)

    def move_to(self, x_um: float, y_um: float) -> None:
        """Raises LimitError for any position but (0, 0)."""
        check_limits("recorded x", x_um, (0.0, 0.0))
        check_limits("recorded y", y_um, (0.0, 0.0))


@dataclass(frozen=True)
class Replay:
    """A recorded stack as an instrument.

    Attributes:
        microscope: its devices. Without a recorded aperture its pixels count as the network's own.
        approach: without backlash; the first image is taken at the pivot itself.
        limits: the record's ends.
        um_per_unit: µm that one unit of the record's z stands for.
        first_um: plane that stands at `start`, or the lowest one, in µm: the pivot to begin with.
    """

    microscope: Microscope
    approach: ApproachSettings
    limits: GuardLimits
    um_per_unit: float
    first_um: float

    def recorded_z(self, z_um: float) -> float:
        """Position in the record's own unit."""
        return z_um / self.um_per_unit


def replay_microscope(
    stack: RecordedStack,
    objective: Objective,
    delta_um: float,
    *,
    start_z: float | None = None,
    um_per_step: float | None = None,
    sensor_pixel_um: float = 3.45,
) -> Replay:
    """An instrument that plays a recorded stack.

    Args:
        stack: the record.
        objective: the optics that the network's scale is taken from where the record does not know its own.
        delta_um: Δ of those optics in µm. In a stack whose z is in steps the pair is two planes, and one step counts
            as half of this.
        start_z: where the first image is wanted, in the record's unit; the lowest plane by default. Focus moves it to
            the nearest plane that leaves a pair.
        um_per_step: µm that one step stands for, instead of delta_um / 2. Only for a stack in steps.
        sensor_pixel_um: unbinned sensor pixel in µm.

    Raises:
        SettingsError: if um_per_step is not above 0 or the stack is in µm, start_z is no number, or no two planes are Δ
            apart.
    """
    um_per_unit = _um_per_unit(stack, delta_um, um_per_step)
    planes_um = tuple(z * um_per_unit for z in stack.z)
    pair_um = _STEPS_PER_DELTA * um_per_unit if stack.z_unit == "step" else delta_um
    start_um = planes_um[0] if start_z is None else start_z * um_per_unit
    if not np.isfinite(start_um):
        raise SettingsError(f"start {start_um:g} {stack.z_unit} is not a number")
    z = ReplayZStage(planes_um, start_um)
    z.nearest_pair_um(start_um, pair_um)  # a record without pairs is refused here
    lens, pixel_size_um = _scale(stack, objective)
    microscope = Microscope(
        name=f"replay of {stack.name}",
        camera=ReplayCamera(stack, z, pixel_size_um),
        xy=ReplayXYStage(),
        z=z,
        lamp=SimulatedLamp(),
        clock=VirtualClock(),
        objective=lens,
        sensor_pixel_um=sensor_pixel_um,
    )
    approach = ApproachSettings(backlash_um=0, margin_um=0, start_below_um=0, take_up_um=0, delta_um=pair_um)
    lowest_um, highest_um = z.limits_um
    travel_um = 20 * (highest_um - lowest_um)
    limits = GuardLimits(lowest_um=lowest_um, highest_um=highest_um, travel_budget_um=travel_um)
    return Replay(microscope, approach, limits, um_per_unit, start_um)


def _um_per_unit(stack: RecordedStack, delta_um: float, um_per_step: float | None) -> float:
    if um_per_step is None:
        return delta_um / _STEPS_PER_DELTA if stack.z_unit == "step" else 1.0
    if stack.z_unit != "step":
        raise SettingsError(f"stack {stack.name} has its z in µm: {um_per_step:g} µm per step does not apply")
    if not 0 < um_per_step < np.inf:
        raise SettingsError(f"{um_per_step:g} µm per step is not above 0 µm")
    return um_per_step


def _scale(stack: RecordedStack, objective: Objective) -> tuple[Objective, float]:
    """The lens and the pixel in µm: the record's where it knows them, else the network's own scale."""
    if stack.na is None or stack.pixel_size_um is None:
        return objective, objective.canonical_pixel_um
    magnification = objective.magnification if stack.magnification is None else stack.magnification
    return Objective(magnification, stack.na, 1.0 if stack.na < 1 else _OIL_INDEX), stack.pixel_size_um


def _pairs(planes_um: np.ndarray[tuple[int, ...], np.dtype[np.float64]], delta_um: float) -> list[tuple[float, float]]:
    """For each plane that leaves a pair: (its position, that of the plane nearest to delta_um above it)."""
    pairs = []
    for first_um in planes_um:
        above_um = planes_um[planes_um - first_um >= _SHORTEST_PAIR * delta_um - _ROUNDING_UM]
        if above_um.size:
            second_um = above_um[np.argmin(np.abs(above_um - first_um - delta_um))]
            pairs.append((float(first_um), float(second_um)))
    return pairs
