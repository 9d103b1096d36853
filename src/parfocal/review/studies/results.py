"""What a closed study found: readings, agreement, and the discordances with what was ruled on them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from parfocal.errors import InputError
from parfocal.review.agreement import Comparison
from parfocal.review.agreement_report import RESAMPLES, AgreementReport, discordance_json, measure_agreement
from parfocal.review.database.tables import ReportRow, RulingRow, SheetRow, StudyRow
from parfocal.review.findings import answer_of
from parfocal.review.reading_state import ReadingState, submitted_readings
from parfocal.review.readings import COLUMNS, GRADES, NON_INTERPRETABLE, REPEAT_COLUMN, Reading
from parfocal.review.report import check_history, report_from_json
from parfocal.review.sheets.keeping import state_of
from parfocal.review.studies.keeping import design_of, plan_of, sheets_of
from parfocal.review.studies.shown import shown_words


class Ruling(StrEnum):
    """What a discordance comes from (paper, 5.3)."""

    NOT_DRAWN = "not-drawn"
    OVERLOOKED = "overlooked"
    NOT_SCANNED = "not-scanned"
    REFERENCE_WRONG = "reference-wrong"
    UNDECIDED = "undecided"


RULING_WORDS = {
    Ruling.NOT_DRAWN: "occurs in a scanned field that was not drawn",
    Ruling.OVERLOOKED: "occurs in what the reader was shown",
    Ruling.NOT_SCANNED: "occurs in no scanned field",
    Ruling.REFERENCE_WRONG: "the reference reading is wrong",
    Ruling.UNDECIDED: "cannot be decided",
}


@dataclass(frozen=True)
class Discordance:
    """A slide for adjudication.

    Attributes:
        comparison: reading and reference.
        ruling: the latest; None for none.
    """

    comparison: Comparison
    ruling: RulingRow | None

    @property
    def words(self) -> dict[str, Any]:
        """As JSON values, with the ruling."""
        ruling = None if self.ruling is None else self.ruling.ruling
        field = None if self.ruling is None else self.ruling.field
        note = "" if self.ruling is None else self.ruling.note
        return {**discordance_json(self.comparison), "ruling": ruling, "field": field, "note": note}


def readings_of(session: Session, study: StudyRow) -> tuple[Reading, ...]:
    """Every submitted reading, with the names of the slides.

    Raises:
        InputError: if the study is not closed.
    """
    if study.state != "closed":
        raise InputError("the study is not closed: its findings stay hidden")
    query = select(SheetRow, ReportRow.content).join(ReportRow, ReportRow.sheet_id == SheetRow.id)
    states: dict[str, ReadingState] = {}
    for sheet, content in session.execute(query.where(SheetRow.study_id == study.id)):
        state, answer = state_of(sheet), answer_of(check_history([report_from_json(content)])[0])
        states[sheet.code] = ReadingState(state.phase, state.since, state.seconds, answer, state.submitted_at)
    return submitted_readings(plan_of(study), states)


def agreement_of(session: Session, study: StudyRow, resamples: int = RESAMPLES) -> AgreementReport:
    """How well the readings agree. Of a study that was broken off, those that have a reference reading count.

    Args:
        session: of a transaction.
        study: which.
        resamples: of the bootstrap; 0 leaves it out.

    Raises:
        InputError: if it is not closed, has no reference, or nothing can be compared.
    """
    reference = design_of(study).reference
    if reference is None:
        raise InputError("the study has no reference modality to compare with")
    readings, planned = readings_of(session, study), len(plan_of(study).assignments)
    was_broken_off = len(readings) < planned
    notes = (f"The study was broken off: {len(readings)} of {planned} readings were made.",) if was_broken_off else ()
    notes = (*notes, *shown_words(session, sheets_of(session, study)))
    margin = study.margin_percent
    return measure_agreement(
        readings,
        reference,
        margin_percent=margin,
        resamples=resamples,
        leave_out=True,
        notes=notes,
        wash_out_days=design_of(study).wash_out_days,
    )


class Agreements:
    """Agreement of closed studies, which does not change any more: worked out once, not for each page and file.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._kept: dict[tuple[str, int], AgreementReport] = {}
        self._lock = Lock()

    def of(self, session: Session, study: StudyRow, resamples: int = RESAMPLES) -> AgreementReport:
        """As `agreement_of`, and raises what it raises."""
        key = (study.id, resamples)
        with self._lock:  # who asks at once waits, and does not work it out once more
            found = self._kept.pop(key, None) or agreement_of(session, study, resamples)
            found.to_json()  # the bootstrap is the long part
            self._kept[key] = found  # the latest is last
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return found


def discordances_of(session: Session, study: StudyRow, report: AgreementReport) -> list[Discordance]:
    """All slides for adjudication, in order, each with its latest ruling."""
    query = select(RulingRow).where(RulingRow.study_id == study.id).order_by(RulingRow.id)
    latest = {(row.reader, row.slide, row.modality): row for row in session.scalars(query)}
    return [
        Discordance(one, latest.get((one.reading.reader, one.reading.slide, one.reading.modality)))
        for one in report.discordances
    ]


def ruled(discordances: Sequence[Discordance]) -> dict[str, int]:
    """How many came to which ruling, in words."""
    counts = Counter(one.ruling.ruling for one in discordances if one.ruling is not None)
    return {RULING_WORDS[ruling]: counts[ruling] for ruling in Ruling if counts[ruling]}


def sheet_of(session: Session, study: StudyRow, reading: Reading) -> SheetRow:
    """The sheet of a reading."""
    code = next(
        one.code
        for one in plan_of(study).assignments
        if (one.reader, one.case.slide, one.case.modality, one.repeat)
        == (reading.reader, reading.slide, reading.modality, reading.repeat)
    )
    return next(sheet for sheet in sheets_of(session, study, reading.reader) if sheet.code == code)


def readings_csv(readings: Sequence[Reading]) -> str:
    """The table that `parfocal study agreement` reads."""
    sink = io.StringIO(newline="")
    table = csv.writer(sink, lineterminator="\n")
    table.writerow([*COLUMNS, REPEAT_COLUMN])
    for one in readings:
        names = [f"{name}={GRADES[one.grades[name]]}" if name in one.grades else name for name in sorted(one.organisms)]
        organisms = "; ".join(names) if one.interpretable else NON_INTERPRETABLE
        table.writerow([one.reader, one.slide, one.modality, organisms, one.repeat])
    return sink.getvalue()
