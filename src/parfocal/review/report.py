"""A report on a slide as a value: counts and answers, graded by its form, signed, amended by a new version.

The digest of a signature shows that nothing was changed since; it is a checksum, not a proof of who signed. Who may
sign in whose name is the server's business.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from parfocal.documents import read_json
from parfocal.durable import written_aside
from parfocal.errors import FileError, InputError, SettingsError
from parfocal.review.findings import Finding, report_findings
from parfocal.review.grading import Count, area_of
from parfocal.review.report_forms import Item, ReportForm

FORMAT = 1
_NO_MORE = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Signature:
    """Who signed a report.

    Attributes:
        reader: who.
        at: when, in UTC.
        digest: SHA-256 of the report's content with who and when.
    """

    __pydantic_config__ = _NO_MORE

    reader: str
    at: datetime
    digest: str


@dataclass(frozen=True)
class Report:
    """What a reader says about a slide.

    Attributes:
        form: what was asked, whole, so that a report can be read when the form has changed.
        slide: pseudonym or study code; nothing that tells whose it is.
        fields: how many fields the counts are of; None where nothing was counted in fields.
        field_area_mm2: true area of one of them.
        counts: totals over these fields, by item; what is not there was not looked for, 0 was not seen.
        answers: choices, texts and names, by item.
        graded_in: another field than the scale's own, by scale, such as {"cells": "low-power"}.
        interpretable: False where the reader could not tell; nothing is counted then.
        number: of the report, the same in all its versions.
        version: 1, or one more than what it amends.
        amends: digest of the version before.
        reason: why it was amended.
        signature: None for a draft.
    """

    __pydantic_config__ = _NO_MORE

    form: ReportForm
    slide: str
    fields: int | None = None
    field_area_mm2: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    graded_in: Mapping[str, str] = field(default_factory=dict)
    interpretable: bool = True
    number: str = field(default_factory=lambda: secrets.token_hex(6))
    version: int = 1
    amends: str | None = None
    reason: str = ""
    signature: Signature | None = None

    def __post_init__(self) -> None:
        if not self.slide:
            raise InputError("a report needs the code of its slide")
        if not self.interpretable and self.counts:
            raise InputError(f"slide {self.slide} is non-interpretable, and yet {', '.join(self.counts)} was counted")
        if (self.version == 1) != (self.amends is None) or self.version < 1:
            raise InputError(f"version {self.version} of report {self.number} amends {self.amends or 'nothing'}")
        for key, count in self.counts.items():
            self._check_count(self.form.item(key), count)
        for key, answer in self.answers.items():
            _check_answer(self.form.item(key), answer)
        for scale, area in self.graded_in.items():
            if scale not in self.form.scales:
                raise SettingsError(f"the form {self.form.name} has no scale {scale!r}")
            area_of(self.form, self.form.scales[scale], area)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was counted, graded, in the order of the form."""
        return report_findings(self.form, self.counts, self.fields, self.field_area_mm2, self.graded_in)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, with who signed it and when."""
        values = self._values()
        if values["signature"] is not None:
            del values["signature"]["digest"]
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def is_intact(self) -> bool:
        """Whether it is signed, and what it says is what was signed."""
        return self.signature is not None and self.signature.digest == self.digest

    def sign(self, reader: str, at: datetime) -> Report:
        """The signed report, which is not changed any more.

        Raises:
            InputError: if it is signed already, nobody signs, or the time has no time zone.
        """
        if self.signature is not None:
            raise InputError(f"report {self.number} was signed by {self.signature.reader}: it can be amended")
        if not reader.strip():
            raise InputError(f"report {self.number}: nobody signs it")
        if at.tzinfo is None:
            raise InputError(f"report {self.number}: {at} has no time zone")
        signature = Signature(reader, at.astimezone(UTC).replace(microsecond=0), digest="")
        return replace(self, signature=replace(signature, digest=replace(self, signature=signature).digest))

    def amend(self, reason: str, **changes: Any) -> Report:
        """A draft of the next version; this one stays as it is.

        Args:
            reason: why.
            changes: attributes that are different, such as `counts`.

        Raises:
            InputError: if this one is not signed or was changed afterwards, or there is no reason.
        """
        if self.signature is None:
            raise InputError(f"report {self.number} is a draft: it can be changed, and needs no amendment")
        if not self.is_intact:
            raise InputError(f"report {self.number} was changed after {self.signature.reader} signed it")
        if not reason.strip():
            raise InputError(f"report {self.number}: an amendment needs a reason")
        kept = {"version": self.version + 1, "amends": self.signature.digest, "number": self.number}
        return replace(self, **{**changes, **kept, "reason": reason, "signature": None})

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with the findings."""
        return {"format": FORMAT, **self._values(), "findings": [one.to_json() for one in self.findings]}

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = _REPORT.dump_python(self, mode="json")
        return values

    def _check_count(self, item: Item, count: int) -> None:
        if item.kind != "count":
            raise InputError(f"{item.key} is no count")
        if count < 0:
            raise InputError(f"{item.key}: a count of {count} is negative")
        if item.scale is not None:
            if self.fields is None or self.field_area_mm2 is None:
                raise InputError(f"{item.key}: a grade needs the number of fields and the area of a field")
            Count(count, self.fields, self.field_area_mm2)


_REPORT = TypeAdapter(Report)


def report_from_json(values: Mapping[str, Any], where: str = "report") -> Report:
    """The report that `to_json` wrote, signed or not.

    Raises:
        FileError: if it is none, or its findings are not those of its counts.
        InputError: if it contradicts itself.
    """
    known = dict(values)
    if known.pop("format", None) != FORMAT:
        raise FileError(f"{where}: is no report of format {FORMAT}")
    findings = known.pop("findings", None)
    try:
        report = _REPORT.validate_python(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise FileError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not _same(findings, [one.to_json() for one in report.findings]):
        raise FileError(f"{where}: its findings are not those of its counts")
    return report


def _same(told: object, found: object) -> bool:
    """Whether findings are the same: numbers but for rounding, and without those that were not told yet back then."""
    if isinstance(found, float):
        return isinstance(told, (int, float)) and math.isclose(told, found, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(found, Sequence) and not isinstance(found, str):
        return isinstance(told, Sequence) and len(told) == len(found) and all(map(_same, told, found))
    if isinstance(found, Mapping):
        return (
            isinstance(told, Mapping)
            and {"key", "count", "grade"} <= told.keys() <= found.keys()
            and all(_same(told[key], found[key]) for key in told)
        )
    return told == found


def read_report(path: Path) -> Report:
    """Read a report from a JSON file.

    Raises:
        FileError: if there is none, or it was changed after it was signed.
    """
    report = report_from_json(read_json(path), str(path))
    if report.signature is not None and not report.is_intact:
        raise FileError(f"{path}: was changed after {report.signature.reader} signed it")
    return report


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON. A signed one is never overwritten: what is there stays.

    Raises:
        FileError: if there is a file of this name already, or it cannot be written.
    """
    if path.exists():
        raise FileError(f"{path}: is there already; a report is amended, never overwritten")
    with written_aside(path) as part:
        part.write_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_history(versions: Iterable[Report]) -> tuple[Report, ...]:
    """All versions of a report, oldest first, if each is signed, unchanged, and amends the one before.

    Raises:
        InputError: naming the version that does not fit.
    """
    history = tuple(sorted(versions, key=lambda one: one.version))
    if not history or history[0].version != 1:
        raise InputError("the first version of the report is missing")
    for one in history:
        if not one.is_intact:
            raise InputError(f"version {one.version} of report {one.number} is not signed, or was changed since")
    for before, after in pairwise(history):
        if (after.number, after.amends) != (before.number, before.digest):
            raise InputError(
                f"version {after.version} of report {after.number} does not amend version {before.version}"
            )
    return history


def _check_answer(item: Item, answer: str) -> None:
    if item.kind == "count":
        raise InputError(f"{item.key} is counted, not answered with {answer!r}")
    if item.kind == "choice" and answer not in item.options:
        raise InputError(f"{item.key}: {answer!r} is none of {', '.join(item.options)}")
