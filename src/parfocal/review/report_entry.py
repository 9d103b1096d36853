"""A report typed into a TOML file: form, slide, counts and answers, and how large the fields are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parfocal.documents import read_toml
from parfocal.errors import FileError
from parfocal.review.grading import frame_area_mm2
from parfocal.review.report import Report
from parfocal.review.report_forms import FieldArea, load_form


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Eyepiece(_Table):
    magnification: float = Field(ge=0.1, le=1000)
    field_number_mm: float = Field(ge=0.1, le=100)

    @property
    def area_mm2(self) -> float:
        return FieldArea(title="field", **self.model_dump()).area_mm2


class _Frame(_Table):
    width_px: int = Field(ge=1, le=10**6)
    height_px: int = Field(ge=1, le=10**6)
    pixel_size_um: float = Field(ge=0.001, le=1000)

    @property
    def area_mm2(self) -> float:
        return frame_area_mm2(self.width_px, self.height_px, self.pixel_size_um)


class _Entry(_Table):
    form: str = "gram"
    slide: str = Field(min_length=1)
    fields: int | None = Field(default=None, ge=1)
    field: _Frame | _Eyepiece | None = None
    interpretable: bool = True
    counts: dict[str, int] = {}
    answers: dict[str, str] = {}
    graded_in: dict[str, str] = {}


def read_entry(path: Path) -> Report:
    """The draft that a TOML file describes.

    `fields` says in how many fields was counted, `[field]` how large one is: `width_px`, `height_px`, `pixel_size_um`
    of a camera frame, or `magnification` and `field_number_mm` of an eyepiece.

    Raises:
        FileError: if the file is not such a description, or the form is not there.
        InputError: if it does not fit the form.
    """
    try:
        entry = _Entry.model_validate(read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise FileError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return Report(load_form(entry.form), **_content(entry))


def _content(entry: _Entry) -> dict[str, Any]:
    area = None if entry.field is None else entry.field.area_mm2
    same = ("slide", "fields", "interpretable", "counts", "answers", "graded_in")
    return {"field_area_mm2": area, **{name: getattr(entry, name) for name in same}}
