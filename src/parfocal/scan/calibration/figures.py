"""The figures of each step of a calibration, as they stand in its file. All numbers are finite."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from parfocal.scan.calibration.curves import Slack

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Floats = Annotated[tuple[_Finite, ...], Field(max_length=10_000)]


class Values(BaseModel):
    """What a calibration file is made of: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(Values):
    """Mean, standard deviation and largest value of repeats."""

    mean: _Finite
    sd: _NotNegative
    max: _Finite

    @classmethod
    def of(cls, slack: Slack) -> Spread:
        """Of repeated measurements of a slack, in µm."""
        return cls(mean=slack.mean_um, sd=slack.sd_um, max=slack.max_um)


class BacklashFigures(Values):
    """z backlash in µm, and what a reversal looks like."""

    backlash_um: Spread
    shifts_um: _Floats
    plateau: Literal["play", "hysteresis", "cannot tell"]
    plateau_travel_um: _Floats
    plateau_moved_um: _Floats
    planes: int
    step_um: _Finite


class StageFigures(Values):
    """x-y stage against camera. Pixel sizes in µm of commanded motion, angles in degrees."""

    xy_backlash_um: tuple[Spread, Spread]
    px_per_um: tuple[tuple[_Finite, _Finite], tuple[_Finite, _Finite]]
    pixel_um: tuple[_Finite, _Finite]
    pixel_size_um: _Finite
    pixel_size_error: _NotNegative
    rotation_deg: _Finite
    shear_deg: _Finite
    stage_error_um: _NotNegative
    neighbour_error_um: _NotNegative
    stops: int
    stops_for_a_thousandth: int
    length_um: _Finite


class SettleFigures(Values):
    """Settle time in s, None where the picture never came to rest; differences in grey levels."""

    settle_s: _NotNegative | None = None
    times_s: _Floats
    differences: _Floats


class OpticsFigures(Values):
    """Depth of field, u and the Δ to recommend, in µm."""

    depth_of_field_um: _Finite
    unit_um: _Finite
    delta_um: _Finite


class LightFigures(Values):
    """Illumination of the frame relative to its mean on 6 × 8 places, and white, in red, green, blue."""

    flat: list[list[list[_Finite]]] = Field(max_length=64)
    corner: tuple[_Finite, _Finite, _Finite]
    white: tuple[_Finite, _Finite, _Finite]
    gains: tuple[_Finite, _Finite, _Finite]
    saturated: _NotNegative
    frames: int


class NoiseFigures(Values):
    """Noise, floor of a difference and empty level, in grey levels."""

    noise_sd: _NotNegative
    difference_floor: _NotNegative
    empty_sd: _NotNegative


class StartFigures(Values):
    """pivot − z1, the error to expect there, and the network's error over the defocus of the second image, in µm."""

    start_below_um: _NotNegative
    expected_error_um: _NotNegative
    defocus_um: _Floats
    error_um: _Floats
    pairs: int


Figures = BacklashFigures | StageFigures | SettleFigures | OpticsFigures | LightFigures | NoiseFigures | StartFigures
