"""Drivers that tests put instruments together from: a small simulated microscope, device by device."""

from parfocal.benchmark.painted import PaintedSlide, surface_um
from parfocal.config.simulated import simulated_instrument
from parfocal.config.tables import InstrumentFile
from parfocal.devices.axes import AxisDirections
from parfocal.devices.driver import Devices, Driver, DriverSettings
from parfocal.devices.simulated import CameraSettings, SimulatedSettings, XYSettings, ZSettings, simulated_microscope
from parfocal.errors import InstrumentError
from parfocal.optics.sensor import Sensor

CLOSED = []


class Settings(DriverSettings):
    """Which name it leaves when it is let go of, and whether it answers at all."""

    name: str = "stand"
    answers: bool = True


def _parts(asked):
    file = InstrumentFile.model_validate(
        {
            "name": "stand",
            "kind": "simulated",
            "objective": {"magnification": 20, "na": 0.75},
            "camera": {
                "frame_shape": asked.frame_shape,
                "pixel_size_um": asked.pixel_size_um,
                "sensor_pixel_um": 3.45,
            },
            "approach": {"delta_um": 2, "backlash_um": 20, "take_up_um": 22, "start_below_um": 6},
            "z": {"lowest_um": -120, "highest_um": 120},
            "sweep": {"lowest_um": -20, "highest_um": 20, "step_um": 4},
        }
    )
    return simulated_instrument(file, "he-tissue", 1)[0]


def _open(settings, asked):
    if not settings.answers:
        raise InstrumentError(f"{settings.name} does not answer")
    microscope = _parts(asked)
    given = {role: getattr(microscope, role) for role in asked.roles}
    return Devices(**given, close=lambda: CLOSED.append(settings.name))


STAND_ROLES = frozenset({"camera", "xy", "z", "lamp"})
STAND = Driver("stand", "all of a small microscope", STAND_ROLES, Settings, _open)
"""Gives whatever it is asked for."""


class CrookedXY:
    """A stage whose own axes run as `true` describes them."""

    def __init__(self, stage, true):
        self._stage, self._true = stage, true
        self.limits_um = ((-12_500.0, 12_500.0), (-12_500.0, 12_500.0))

    @property
    def position_um(self):
        x, y = self._stage.position_um
        x, y = self._true.sign("x") * x, self._true.sign("y") * y
        return (y, x) if self._true.swap_xy else (x, y)

    def move_to(self, first_um, second_um):
        x, y = (second_um, first_um) if self._true.swap_xy else (first_um, second_um)
        self._stage.move_to(self._true.sign("x") * x, self._true.sign("y") * y)


class HomingZ:
    """A z stage with a switch at its lower end."""

    homed = 0

    def __init__(self, stage):
        self._stage = stage

    def __getattr__(self, name):
        return getattr(self._stage, name)

    def home(self):
        HomingZ.homed += 1
        self._stage.move_to(self._stage.limits_um[0])


def _open_crooked(settings, asked):
    microscope = _parts(asked)
    given = {role: getattr(microscope, role) for role in asked.roles}
    if "xy" in given:
        given["xy"] = CrookedXY(given["xy"], AxisDirections(frozenset("x"), swap_xy=True))
    if "z" in given:
        given["z"] = HomingZ(given["z"])
    return Devices(**given, close=lambda: CLOSED.append(settings.name))


CROOKED = Driver("crooked", "the same, put together askew", STAND_ROLES, Settings, _open_crooked)
"""Its x runs the other way, and x and y are swapped."""

LIAR = Driver("liar", "promises a stage and brings none", frozenset({"xy", "z"}), Settings, lambda _s, _a: Devices())
"""Gives nothing."""


Z_BACKLASH_UM, XY_BACKLASH_UM = 14.0, 35.0
TRUE_PIXEL = 0.98
"""What the painted instrument has; its pixels are smaller than its file says, by this factor."""


class _SmallerPixels(PaintedSlide):
    def field(self, x_um, y_um, shape, pixel_um, /):
        return super().field(x_um, y_um, shape, TRUE_PIXEL * pixel_um)


def _open_painted(settings, asked):
    simulated = SimulatedSettings(
        camera=CameraSettings(frame_shape=asked.frame_shape, pixel_size_um=asked.pixel_size_um, shift_sigma_px=0.0),
        xy=XYSettings(backlash_um=XY_BACKLASH_UM, screw_um=0.0, error_um=0.5),
        z=ZSettings(backlash_um=Z_BACKLASH_UM),
    )
    microscope, _ = simulated_microscope(_SmallerPixels(), Sensor(), simulated, surface_um, 1)
    return Devices(**{role: getattr(microscope, role) for role in asked.roles})


PAINTED = Driver("painted", "painted texture, which costs no optics", STAND_ROLES, Settings, _open_painted)
"""Its slack and its pixels are not what its file says."""
