"""Emulated boards for tests: a small simulated microscope that moves in no time, behind a pseudo-terminal."""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parfocal.config import Instrument, open_microscope
from parfocal.devices.driver import Asked, driver_named
from parfocal.devices.wall_clock import WallClock
from parfocal.emulators.firmware import Faults, Firmware
from parfocal.emulators.grbl import GrblFirmware
from parfocal.emulators.marlin import MarlinFirmware
from parfocal.emulators.pty_port import PtyPort
from parfocal.emulators.sangaboard import UM_PER_STEP, SangaboardFirmware
from parfocal.emulators.stand import Stand

FIRMWARES = {"grbl": GrblFirmware, "marlin": MarlinFirmware, "sangaboard": SangaboardFirmware}
LIMITS = {
    "x_limits_um": (-10_000.0, 10_000.0),
    "y_limits_um": (-10_000.0, 10_000.0),
    "z_limits_um": (-300.0, 300.0),
}
QUICK = {"settle_ms": 0.0, "answer_s": 0.15, "wake_s": 3.0, "move_s": 5.0}


@dataclass
class Board:
    """An emulated board, switched on."""

    driver: str
    instrument: Instrument
    stand: Stand
    faults: Faults
    firmware: Firmware
    port: PtyPort

    def settings(self, **changes):
        """The driver's settings for it."""
        own = {"um_per_step": UM_PER_STEP} if self.driver == "sangaboard" else {}
        values = {"port": self.port.name, **LIMITS, **QUICK, **own, **changes}
        return driver_named(self.driver).settings.model_validate(values)

    def open(self, roles=("xy", "z", "lamp"), **changes):
        """The devices that the driver opens on it."""
        return driver_named(self.driver).open(self.settings(**changes), asked(roles))


def asked(roles, frame_shape=(240, 320)):
    """What an instrument of 0.345 µm pixels wants."""
    return Asked(frozenset(roles), frame_shape, 0.345, WallClock(), Path())


@contextmanager
def board(driver, toml, haste=math.inf, stale_frames=0, specimen="he-tissue", seed=1, **firmware_options):
    """Switch an emulated board on, over a simulated instrument's file."""
    instrument = open_microscope(toml, specimen, seed)
    stand, faults = Stand(instrument.microscope, haste, stale_frames), Faults()
    firmware = FIRMWARES[driver](stand, faults, **firmware_options)
    with PtyPort(firmware) as port:
        yield Board(driver, instrument, stand, faults, firmware, port)
