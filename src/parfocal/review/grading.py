"""Counts in fields of any size become grades of the field that the cut-offs are made for (paper, Table 2)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from parfocal.errors import SettingsError
from parfocal.review.report_forms import FieldArea, GradeStep, ReportForm, Scale


@dataclass(frozen=True)
class Count:
    """What was counted in fields.

    Attributes:
        total: over all fields together.
        fields: how many were looked at.
        field_area_mm2: true area of one field on the slide.
    """

    total: int
    fields: int
    field_area_mm2: float

    def __post_init__(self) -> None:
        if self.total < 0:
            raise SettingsError(f"a count of {self.total} is negative")
        if self.fields < 1:
            raise SettingsError(f"{self.total} counted in {self.fields} fields: at least 1 is needed")
        if not 1e-9 <= self.field_area_mm2 <= 1e9:
            raise SettingsError(f"a field of {self.field_area_mm2:g} mm² is not within 1e-9 to 1e9 mm²")

    def mean_in(self, area: FieldArea) -> float:
        """Mean count in a field of that area: total / fields · area / area of a field."""
        return self.total / self.fields * (area.area_mm2 / self.field_area_mm2)


def frame_area_mm2(width_px: int, height_px: int, pixel_size_um: float) -> float:
    """Area that a camera frame shows, in mm²."""
    return width_px * height_px * (pixel_size_um / 1000) ** 2


def mean_count(counts: Iterable[Count], area: FieldArea) -> float:
    """Mean of several counts together, in a field of that area."""
    return math.fsum(count.mean_in(area) for count in counts)


def grade_mean(mean: float, scale: Scale) -> GradeStep:
    """The grade of a mean count, of which there is exactly one: the first whose upper limit is not exceeded.

    Raises:
        SettingsError: if the mean is negative or no number.
    """
    if not mean >= 0:
        raise SettingsError(f"a mean count of {mean:g} is negative or no number")
    return next(step for step in scale.grades if step.holds(mean))


def area_of(form: ReportForm, scale: Scale, chosen: str | None = None) -> FieldArea:
    """The field in which a scale's cut-offs count: its own, or one that may be chosen instead.

    Raises:
        SettingsError: if that one may not be chosen.
    """
    name = scale.area if chosen is None else chosen
    if name not in (scale.area, *scale.other_areas):
        raise SettingsError(f"grades of {form.name} count in {scale.area}{_or(scale.other_areas)}, not in {name!r}")
    return form.areas[name]


def _or(names: tuple[str, ...]) -> str:
    return "".join(f" or {name}" for name in names)
