"""The design of a blinded reading study as values: who reads what, in which order, under which code (paper, 5.2).

`StudyDesign` says what the study lead decides before it starts. `plan_study` draws everything that is random, once,
from the design's seed: the fields of each slide, the order for each reader, and the codes. The plan is what a server
keeps; a reader only ever gets `Assignment.shown`. Nothing here knows a database or a page.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from parfocal.errors import InputError, SettingsError
from parfocal.review.comparisons import checked_margin

FIELDS_PER_SLIDE = 30
"""The paper's."""
WASH_OUT_DAYS = 14.0
"""What the College of American Pathologists asks for, at least."""

_LONGEST = {"slides": 500, "modalities": 64, "readers": 64}  # characters of a name
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_CODE_LENGTH = 8
_NO_MORE = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class StudyDesign:
    """What is decided before a study starts, and not changed afterwards.

    Attributes:
        name: of the study; readers see it, so it is not to tell what a slide is.
        slides: their identifiers, which readers never see.
        modalities: ways of reading, such as `glass`, `automated-40x`.
        readers: names of accounts.
        reference: modality that the others are compared with; read under a code that is stuck on the glass, without an
            image. None where all are digital.
        fields_per_slide: fields that are drawn of each slide and modality; None to show whole slides.
        missing: slides that cannot be read in a modality, by modality, as in the paper, whose operator imaged 29 of 32.
        repeats: slides that every reader reads a second time in each modality, for test-retest.
        wash_out_days: between two readings of the same slide by the same reader, in whichever modality.
        margin_percent: of non-inferiority in percentage points; None for none.
        form: name of the report form that readers fill in.
        seed: of all that is drawn, random unless given. Whoever knows it can work out the codes: not for readers.
    """

    __pydantic_config__ = _NO_MORE

    name: str
    slides: tuple[str, ...]
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    reference: str | None = "glass"
    fields_per_slide: int | None = FIELDS_PER_SLIDE
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeats: int = 0
    wash_out_days: float = WASH_OUT_DAYS
    margin_percent: float | None = None
    form: str = "gram"
    seed: int = field(default_factory=lambda: secrets.randbelow(2**48))

    def __post_init__(self) -> None:
        for what in ("slides", "modalities", "readers"):
            names: tuple[str, ...] = getattr(self, what)
            if not names:
                raise SettingsError(f"a study needs {what}: there are none")
            if len(set(names)) < len(names) or not all(names):
                raise SettingsError(f"{what} of a study are named, and each once: {', '.join(names)}")
            for name in names:
                if len(name) > (most := _LONGEST[what]):
                    raise SettingsError(f"{what}: {name[:40]}… has {len(name)} characters, at most {most} are kept")
        if self.reference is not None and self.reference not in self.modalities:
            raise SettingsError(f"the reference {self.reference!r} is none of {', '.join(self.modalities)}")
        for modality, slides in self.missing.items():
            for name in {modality} - set(self.modalities) | set(slides) - set(self.slides):
                raise SettingsError(f"{name!r} is said to be missing, and no part of the study")
        if self.reference is not None and self.missing.get(self.reference):
            raise SettingsError(f"{self.missing[self.reference][0]!r} has no {self.reference} to be compared with")
        if self.fields_per_slide is not None and self.fields_per_slide < 1:
            raise SettingsError(f"{self.fields_per_slide} fields a slide: at least 1 is needed")
        if not 0 <= self.repeats <= len(self.slides):
            raise SettingsError(f"{self.repeats} slides cannot be read twice: there are {len(self.slides)}")
        if not 0 <= self.wash_out_days < 3650:
            raise SettingsError(f"a wash-out of {self.wash_out_days:g} days is not within 0 to 3650")
        if self.margin_percent is not None:
            checked_margin(self.margin_percent)
        if self.seed < 0:
            raise SettingsError(f"a seed of {self.seed} is negative")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of it: kept at the start, it shows afterwards that nothing was changed, nor the margin."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """What the fingerprint is over: a file of it has that SHA-256."""
        return _DESIGN.dump_json(self)

    def can_be_read(self, slide: str, modality: str) -> bool:
        """Whether there is anything to read."""
        return slide not in self.missing.get(modality, ())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values: dict[str, Any] = _DESIGN.dump_python(self, mode="json")
        return values

    @staticmethod
    def from_json(values: object) -> StudyDesign:
        """The design that `to_json` wrote, or that somebody typed.

        Raises:
            SettingsError: if it is not one, naming what is wrong.
        """
        return _read(_DESIGN, values)


@dataclass(frozen=True)
class Case:
    """A slide in one modality.

    Attributes:
        slide: its identifier.
        modality: in which way it is read.
        fields: numbers of the fields that were drawn, in the order in which they are shown; empty for whole slides and
            for glass.
        label: code that is stuck on the glass; another one for the second reading, so that nobody knows it again. None
            where there is an image.
    """

    __pydantic_config__ = _NO_MORE

    slide: str
    modality: str
    fields: tuple[int, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class Assignment:
    """A reading that somebody has to make.

    Attributes:
        code: random and unlike any other in the study: the only name that a reader, a page or an address may bear.
        reader: who.
        case: what.
        repeat: 1, or 2 for the second time.
        turn: readings of the same slide by the same reader have rising turns, 0 first.
        place: in the reader's order, 0 first.
    """

    __pydantic_config__ = _NO_MORE

    code: str
    reader: str
    case: Case
    repeat: int
    turn: int
    place: int

    @property
    def shown(self) -> dict[str, Any]:
        """All that the reader may know: neither slide, nor modality beyond its being glass, nor the fields' numbers."""
        return {"code": self.code, "label": self.case.label, "fields": len(self.case.fields)}


@dataclass(frozen=True)
class StudyPlan:
    """A design with all that was drawn: to be kept as it is from the start of the study to its end."""

    __pydantic_config__ = _NO_MORE

    design: StudyDesign
    assignments: tuple[Assignment, ...]

    def of(self, reader: str) -> tuple[Assignment, ...]:
        """What a reader has to read, in order."""
        return tuple(sorted((one for one in self.assignments if one.reader == reader), key=lambda one: one.place))

    def with_code(self, code: str) -> Assignment:
        """The reading of this code.

        Raises:
            InputError: if there is none.
        """
        for one in self.assignments:
            if one.code == code:
                return one
        raise InputError(f"no reading of this study has the code {code!r}")

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for whoever keeps it; not for readers."""
        values: dict[str, Any] = _PLAN.dump_python(self, mode="json")
        return values

    @staticmethod
    def from_json(values: object) -> StudyPlan:
        """The plan that `to_json` wrote.

        Raises:
            SettingsError: if it is not one, naming what is wrong.
        """
        return _read(_PLAN, values)


_Value = TypeVar("_Value")
_DESIGN = TypeAdapter(StudyDesign)
_PLAN = TypeAdapter(StudyPlan)


def plan_study(design: StudyDesign, fields: Mapping[tuple[str, str], Sequence[int]]) -> StudyPlan:
    """Draw the fields, the order for each reader, and the codes. The same design and fields give the same plan.

    Each reader has an order of his own. Slides are read once before any is read again, and the modalities take turns,
    so that none of them always comes first.

    Args:
        design: of the study.
        fields: numbers of the fields that may be drawn, by (slide, modality); nothing is needed for glass, or where
            whole slides are shown.

    Raises:
        SettingsError: if a slide has fewer fields than are to be drawn: their number would tell readers what it is.
    """
    cases = _cases(design, fields)
    again = {
        modality: _chosen(design, "repeats", modality, [slide for slide, how in cases if how == modality])
        for modality in design.modalities
    }
    used = {case.label for case in cases.values() if case.label}
    anew = dict(
        zip(design.slides, _codes(_generator(design.seed, "labels anew"), len(design.slides), used), strict=True)
    )
    used |= set(anew.values())
    ordered = [
        (reader, _again(cases[slide, modality], anew) if repeat == 2 else cases[slide, modality], repeat, turn, place)
        for reader in design.readers
        for place, (turn, slide, modality, repeat) in enumerate(_order(design, reader, cases, again))
    ]
    codes = _codes(_generator(design.seed, "codes"), len(ordered), used)
    return StudyPlan(
        design,
        tuple(Assignment(code, *one) for code, one in zip(codes, ordered, strict=True)),
    )


def draw_fields(available: Sequence[int], number: int, *key: str, seed: int) -> tuple[int, ...]:
    """`number` of the available fields, without repetition, in random order (paper: 30 of a few hundred).

    Args:
        available: numbers of fields, in any order.
        number: how many to draw.
        key: what they are drawn for: another key, other fields.
        seed: of the draw.

    Raises:
        SettingsError: if there are fewer.
    """
    if len(available) < number:
        raise SettingsError(f"{' '.join(key)}: {number} fields are to be drawn, and there are {len(available)}")
    drawn = _generator(seed, "fields", *key).choice(sorted(available), number, replace=False)
    return tuple(int(one) for one in drawn)


def _cases(design: StudyDesign, fields: Mapping[tuple[str, str], Sequence[int]]) -> dict[tuple[str, str], Case]:
    """Every slide in every modality in which it can be read."""
    cases = {}
    labels = iter(_codes(_generator(design.seed, "labels"), len(design.slides), set()))
    for slide in design.slides:
        label = next(labels)
        for modality in design.modalities:
            if not design.can_be_read(slide, modality):
                continue
            if modality == design.reference:
                cases[slide, modality] = Case(slide, modality, label=label)
            elif design.fields_per_slide is None:
                cases[slide, modality] = Case(slide, modality)
            else:
                available = fields.get((slide, modality), ())
                drawn = draw_fields(available, design.fields_per_slide, slide, modality, seed=design.seed)
                cases[slide, modality] = Case(slide, modality, drawn)
    return cases


def _order(
    design: StudyDesign, reader: str, cases: Mapping[tuple[str, str], Case], again: Mapping[str, frozenset[str]]
) -> list[tuple[int, str, str, int]]:
    """(turn, slide, modality, repeat) in the order of a reader."""
    generator = _generator(design.seed, "order", reader)
    modalities = [str(name) for name in generator.permutation(design.modalities)]
    order: list[tuple[int, str, str, int]] = []
    for number, slide in enumerate(generator.permutation(design.slides)):
        first = number % len(modalities)  # modalities take turns: a Latin square over the slides
        turned = [how for how in modalities[first:] + modalities[:first] if (str(slide), how) in cases]
        twice = [(how, 2) for how in turned if slide in again[how]]
        for turn, (how, repeat) in enumerate([*((how, 1) for how in turned), *twice]):
            order.append((turn, str(slide), how, repeat))
    shuffled = [order[index] for index in generator.permutation(len(order))]
    return sorted(shuffled, key=lambda one: one[0])  # stable: random within a turn


def _again(case: Case, anew: Mapping[str, str]) -> Case:
    """The same once more: glass under another code."""
    return case if case.label is None else replace(case, label=anew[case.slide])


def _chosen(design: StudyDesign, what: str, modality: str, slides: Sequence[str]) -> frozenset[str]:
    """Slides that are read twice, the same for all readers."""
    number = min(design.repeats, len(slides))
    return frozenset(str(one) for one in _generator(design.seed, what, modality).choice(slides, number, replace=False))


def _codes(generator: np.random.Generator, number: int, used: set[str]) -> list[str]:
    """That many different codes of letters and digits that are not mistaken for each other."""
    codes: list[str] = []
    taken = set(used)
    while len(codes) < number:
        code = "".join(_ALPHABET[index] for index in generator.integers(0, len(_ALPHABET), _CODE_LENGTH))
        if code not in taken:
            taken.add(code)
            codes.append(code)
    return codes


def _generator(seed: int, *key: str) -> np.random.Generator:
    """Of one thing that is drawn: it does not change when something else is drawn before it."""
    digest = hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng([seed, *digest])


def _read(adapter: TypeAdapter[_Value], values: object) -> _Value:
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(f"study: {where}: {first['msg']}") from error
