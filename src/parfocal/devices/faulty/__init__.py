"""Devices that go wrong as they are told to: for tests, and for the benchmark of faults.

Each wraps any device of its kind. A fault strikes at the n-th call, at some calls on, or at random by a seed (`When`).
What a fault does is its kind; the kinds of each device stand beside it.
"""

from parfocal.devices.faulty.camera import CameraFault, FaultyCamera
from parfocal.devices.faulty.lamp import FaultyLamp, LampFault
from parfocal.devices.faulty.stages import FaultyXY, FaultyZ, StageFault
from parfocal.devices.faulty.strike import LineFault, When

__all__ = [
    "CameraFault", "FaultyCamera", "FaultyLamp", "FaultyXY", "FaultyZ", "LampFault", "LineFault", "StageFault", "When",
]  # fmt: skip
