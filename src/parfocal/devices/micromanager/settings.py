"""What an instrument's file may say about devices that Micro-Manager drives."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from parfocal.devices.driver import DriverSettings, Limits
from parfocal.devices.pixels import BayerPattern

Value = str | int | float
_Positive = Annotated[float, Field(gt=0)]


class MicroManagerSettings(DriverSettings):
    """Micro-Manager's configuration, which of its devices are meant, and what it does not know of them.

    Attributes:
        configuration: Micro-Manager's .cfg file; beside the instrument's file, or in the adapters' folder.
        adapters: folder of the device adapters, or a Python package that brings them, such as mm_test_adapters; where
            pymmcore-plus finds Micro-Manager if empty.
        camera: label of the camera; the one that the configuration has for its camera if empty, and so on.
        xy: label of the x-y stage.
        z: label of the focus drive.
        lamp: label of the shutter or state device that puts the lamp out.
        lamp_property: its property that does so, for what is no shutter; "Label" for a state device's.
        lamp_on: that property's value with the lamp lit.
        lamp_off: that property's value with the lamp out.
        bayer: colours of the first two rows of a colour camera that returns raw pixels; empty for others.
        exposure_ms: exposure in ms; as the configuration leaves it if None.
        xy_limits_um: ((x_min, x_max), (y_min, y_max)) in µm, as Micro-Manager counts; it knows no limits itself.
        z_limits_um: (lowest, highest) in µm, as Micro-Manager counts.
        arrives_within_um: how far from its target a stage may say that it stands after a move, in µm.
        settle_s: wait after each move of a stage, in s.
        timeout_s: how long a device may be busy, in s.
        presets: group → preset to set at the start.
        properties: label → property → value to set after that.
    """

    configuration: str
    adapters: str = ""
    camera: str = ""
    xy: str = ""
    z: str = ""
    lamp: str = ""
    lamp_property: str = ""
    lamp_on: Value = ""
    lamp_off: Value = ""
    bayer: BayerPattern = ""
    exposure_ms: _Positive | None = None
    xy_limits_um: tuple[Limits, Limits] | None = None
    z_limits_um: Limits | None = None
    arrives_within_um: _Positive = 1.0
    settle_s: Annotated[float, Field(ge=0)] = 0.0
    timeout_s: _Positive = 10.0
    presets: dict[str, str] = Field(default_factory=dict)
    properties: dict[str, dict[str, Value]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lamp_is_whole(self) -> Self:
        if self.lamp_property and not (self.lamp and self.lamp_on != "" and self.lamp_off != ""):
            raise ValueError("lamp_property needs lamp, lamp_on and lamp_off")
        return self
