"""Report forms: what a reader is asked, as definitions in TOML (`review/forms/`), not as code."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from parfocal.documents import read_toml
from parfocal.errors import FileError, SettingsError

Kind = Literal["count", "choice", "text", "names"]
_SUFFIX = ".toml"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FieldArea(_Table):
    """A field through an eyepiece.

    Attributes:
        title: such as "oil-immersion field".
        magnification: of the objective.
        field_number_mm: diameter of the eyepiece's stop.
    """

    title: str
    magnification: float = Field(ge=0.1, le=1000)
    field_number_mm: float = Field(ge=0.1, le=100)

    @property
    def area_mm2(self) -> float:
        """π/4 · (field number / magnification)²: 0.0314 mm² with 20 mm and 100X."""
        return math.pi / 4 * (self.field_number_mm / self.magnification) ** 2


class GradeStep(_Table):
    """A grade, and the mean count in a field up to which it goes.

    Attributes:
        name: "0", "1+", ….
        title: in words.
        up_to: its upper limit, which belongs to it.
        below: its upper limit, which does not; the last grade has neither.
    """

    name: str
    title: str
    up_to: float | None = None
    below: float | None = None

    def holds(self, mean: float) -> bool:
        """Whether a mean lies below the upper limit; one that differs from a limit by rounding only is equal to it."""
        if self.up_to is not None:
            return mean <= self.up_to or math.isclose(mean, self.up_to, rel_tol=1e-9)
        return self.below is None or (mean < self.below and not math.isclose(mean, self.below, rel_tol=1e-9))


class Scale(_Table):
    """How mean counts become grades.

    Attributes:
        area: the field in which the cut-offs count.
        other_areas: fields that may be chosen instead, with the same cut-offs.
        grades: from none to many.
    """

    area: str
    other_areas: tuple[str, ...] = ()
    grades: tuple[GradeStep, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        limits = []
        for step in self.grades[:-1]:
            if (step.up_to is None) == (step.below is None):
                raise ValueError(f"grade {step.name} needs up_to or below")
            limits.append((step.below, 0) if step.up_to is None else (step.up_to, 1))
        if self.grades[-1].up_to is not None or self.grades[-1].below is not None:
            raise ValueError(f"the last grade, {self.grades[-1].name}, has no upper limit")
        if limits != sorted(set(limits)):
            raise ValueError("the limits of the grades do not rise")
        return self


class Item(_Table):
    """A question.

    Attributes:
        key: its name in a report.
        title: its words.
        kind: a count of what is seen in fields, a choice, text, or names separated by `;`.
        scale: by which a count is graded; None for none.
        options: of a choice.
        finding: what a count that is not 0 is called in the agreement of readers; None if it does not count there.
    """

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = Field(min_length=1)
    kind: Kind
    scale: str | None = None
    options: tuple[str, ...] = ()
    finding: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "choice") != bool(self.options):
            raise ValueError(f"{self.key}: a choice needs options, and nothing else has them")
        if self.kind != "count" and (self.scale or self.finding):
            raise ValueError(f"{self.key}: only a count has a scale or a finding")
        return self


class Group(_Table):
    """Questions under one heading.

    Attributes:
        title: the heading.
        items: the questions.
        differential: whether the counts are reported as shares of their sum.
        at_least: how many are to be counted for that.
    """

    title: str
    items: tuple[Item, ...] = Field(min_length=1)
    differential: bool = False
    at_least: int = Field(default=0, ge=0)


class ReportForm(_Table):
    """What a reader is asked.

    Attributes:
        name: of the form, and of its file.
        title: its heading.
        version: rises when anything in it changes.
        groups: of questions.
        areas: fields in which cut-offs count, by name.
        scales: by name.
    """

    name: str
    title: str
    version: int = Field(ge=1)
    groups: tuple[Group, ...] = Field(min_length=1)
    areas: dict[str, FieldArea] = {}
    scales: dict[str, Scale] = {}

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        keys = [item.key for item in self.items()]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"there are several items {key}")
        for item in self.items():
            if item.scale is not None and item.scale not in self.scales:
                raise ValueError(f"{item.key}: there is no scale {item.scale}")
        for name, scale in self.scales.items():
            for area in (scale.area, *scale.other_areas):
                if area not in self.areas:
                    raise ValueError(f"scale {name}: there is no area {area}")
        scale_of: dict[str, str | None] = {}
        for item in self.items():
            if item.finding and scale_of.setdefault(item.finding, item.scale) != item.scale:
                raise ValueError(f"{item.finding} is graded by two scales")
        return self

    def items(self) -> Iterator[Item]:
        """All questions, in order."""
        return (item for group in self.groups for item in group.items)

    def item(self, key: str) -> Item:
        """The question of this name.

        Raises:
            SettingsError: if there is none.
        """
        for item in self.items():
            if item.key == key:
                return item
        known = ", ".join(item.key for item in self.items())
        raise SettingsError(f"the form {self.name} does not ask for {key!r}, but for {known}")


def form_names() -> tuple[str, ...]:
    """The forms that come with Parfocal."""
    return tuple(
        sorted(path.name.removesuffix(_SUFFIX) for path in _shipped().iterdir() if path.name.endswith(_SUFFIX))
    )


def load_form(name: str | Path) -> ReportForm:
    """A form by its name, or from a TOML file.

    Raises:
        FileError: if there is no such form, or the file is not one.
    """
    if str(name) in form_names():
        return parse_form(tomllib.loads((_shipped() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")), str(name))
    path = Path(name)
    if path.suffix != _SUFFIX:
        raise FileError(f"there is no form {str(name)!r}: {', '.join(form_names())}, or a file that ends in {_SUFFIX}")
    return parse_form(read_toml(path), str(path))


def parse_form(tables: object, where: str) -> ReportForm:
    """The form that these tables define.

    Raises:
        FileError: naming what is wrong with it.
    """
    try:
        return ReportForm.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "form"
        raise FileError(f"{where}: {place}: {first['msg']}") from error


def _shipped() -> Traversable:
    return files("parfocal.review") / "forms"
