"""Drivers that tests put instruments together from: a small simulated microscope, device by device."""

from parfocal.config.simulated import simulated_instrument
from parfocal.config.tables import InstrumentFile
from parfocal.devices.driver import Devices, Driver, DriverSettings
from parfocal.errors import InstrumentError

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


STAND = Driver("stand", "all of a small microscope", frozenset({"camera", "xy", "z", "lamp"}), Settings, _open)
"""Gives whatever it is asked for."""

LIAR = Driver("liar", "promises a stage and brings none", frozenset({"xy", "z"}), Settings, lambda _s, _a: Devices())
"""Gives nothing."""
