"""What a reader enters on a sheet, one thing at a time, and what all of it together comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from parfocal.errors import InputError
from parfocal.review.readings import NON_INTERPRETABLE, parse_organisms
from parfocal.review.report_forms import FieldArea, ReportForm

_MOST = 1_000_000
_Item = Annotated[str, StringConstraints(max_length=64)]
_Frame = Annotated[int, Field(ge=0, le=_MOST)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Words = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")]
_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{8,36}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Mark(_Entry):
    """Something that was clicked on a frame; `x` and `y` are shares of its width and height."""

    what: Literal["mark"]
    item: _Item
    frame: _Frame
    x: _Share
    y: _Share


class Unmark(_Entry):
    """A mark was a mistake; `mark` is the key of its entry."""

    what: Literal["unmark"]
    mark: _Key


class Typed(_Entry):
    """How many were counted without marks: on a frame, or altogether where there is no image."""

    what: Literal["typed"]
    item: _Item
    frame: _Frame | None = None
    count: Annotated[int, Field(ge=0, le=_MOST)]


class Answered(_Entry):
    """A choice, text or names."""

    what: Literal["answered"]
    item: _Item
    words: _Words


class Looked(_Entry):
    """A frame was shown."""

    what: Literal["looked"]
    frame: _Frame


class Unshown(_Entry):
    """A frame is damaged and could not be shown; it counts as no field that was looked at."""

    what: Literal["unshown"]
    frame: _Frame


class Interpretable(_Entry):
    """Whether the reader can tell anything."""

    what: Literal["interpretable"]
    told: bool


class Eyepiece(_Entry):
    """In how many fields of what size was counted: where there is no image, or in a part of a whole slide."""

    what: Literal["eyepiece"]
    fields: Annotated[int, Field(ge=1, le=_MOST)]
    magnification: Annotated[float, Field(ge=0.1, le=1000)]
    field_number_mm: Annotated[float, Field(ge=0.1, le=100)]

    @property
    def area_mm2(self) -> float:
        """Of one field."""
        area = FieldArea(title="field", magnification=self.magnification, field_number_mm=self.field_number_mm)
        return area.area_mm2


class Everywhere(_Entry):
    """It was counted on all of a whole slide, after all."""

    what: Literal["everywhere"]


Entry = Annotated[
    Mark | Unmark | Typed | Answered | Looked | Unshown | Interpretable | Eyepiece | Everywhere,
    Field(discriminator="what"),
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


@dataclass(frozen=True)
class Contents:
    """What all entries of a sheet come to.

    Attributes:
        marks: by their keys.
        typed: counts by (item, frame); frame None where there is no image.
        answers: by item.
        looked: frames that were shown.
        interpretable: whether the reader can tell.
        eyepiece: where the reader said so; None for all of what is shown.
        unshown: frames that could not be shown.
    """

    marks: Mapping[str, Mark] = field(default_factory=dict)
    typed: Mapping[tuple[str, int | None], int] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    looked: frozenset[int] = frozenset()
    interpretable: bool = True
    eyepiece: Eyepiece | None = None
    unshown: frozenset[int] = frozenset()

    def counted(self, item: str) -> int:
        """How many of an item, over all fields."""
        marked = sum(mark.item == item for mark in self.marks.values())
        return marked + sum(count for (key, _), count in self.typed.items() if key == item)


def contents_of(entries: Iterable[tuple[str, dict[str, Any]]]) -> Contents:
    """Apply (key, entry as JSON values) in the order in which they were saved."""
    marks: dict[str, Mark] = {}
    typed: dict[tuple[str, int | None], int] = {}
    answers: dict[str, str] = {}
    looked: set[int] = set()
    unshown: set[int] = set()
    interpretable = True
    eyepiece: Eyepiece | None = None
    for key, values in entries:
        match _ENTRY.validate_python(values):
            case Mark() as mark:
                marks[key] = mark
            case Unmark(mark=mistaken):
                marks.pop(mistaken, None)
            case Typed(item=item, frame=frame, count=count):
                typed[item, frame] = count
            case Answered(item=item, words=words):
                answers[item] = words
            case Looked(frame=frame):
                looked.add(frame)
            case Unshown(frame=frame):
                unshown.add(frame)
            case Interpretable(told=told):
                interpretable = told
            case Eyepiece() as told_of:
                eyepiece = told_of
            case Everywhere():
                eyepiece = None
    return Contents(marks, typed, answers, frozenset(looked), interpretable, eyepiece, frozenset(unshown))


def check_entry(entry: Entry, form: ReportForm, frames: int, *, whole: bool = False) -> None:
    """Whether an entry fits its sheet.

    Args:
        entry: to be saved.
        form: of the sheet.
        frames: how many it shows; 0 for a sheet without an image.
        whole: whether the one that it shows is a whole slide.

    Raises:
        InputError: if it does not.
    """
    frame = getattr(entry, "frame", None)
    if frame is not None and frame >= frames:
        raise InputError(f"there is no field {frame + 1}: there are {frames}")
    match entry:
        case Mark(item=item) | Typed(item=item):
            if form.item(item).kind != "count":
                raise InputError(f"{item} is not counted")
            if frames and frame is None:
                raise InputError(f"{item}: on which field is not told")
        case Answered(item=item, words=words):
            asked = form.item(item)
            if asked.kind == "count" or (asked.kind == "choice" and words and words not in asked.options):
                raise InputError(f"{item}: {words!r} is no answer to that")
            if asked.kind == "names" and NON_INTERPRETABLE in parse_organisms(words)[0]:
                raise InputError(f"{asked.title}: {NON_INTERPRETABLE} is no name: tick Non-interpretable")
        case Eyepiece() if frames and not whole:
            raise InputError("the size of the fields is known where there is an image")
        case Everywhere() if not whole:
            raise InputError("there is no whole slide to count on")
        case _:
            pass
