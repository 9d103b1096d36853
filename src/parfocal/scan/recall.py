"""What a fields folder tells of its slide, learnt again in the order in which the scan learnt it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from parfocal.devices.base import Frame
from parfocal.focus.field import Shot
from parfocal.focus.result import FocusResult
from parfocal.focus.surface import Expectation
from parfocal.scan.knowledge import SlideKnowledge
from parfocal.scan.lost_steps import suspects_of, without_suspects
from parfocal.scan.plan import PlannedField, ScanPlan
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord

_NO_FRAME = np.zeros((0, 0, 3), np.uint8)


def learn_again(
    knowledge: SlideKnowledge,
    folder: FieldsFolder,
    plan: ScanPlan,
    is_checked: bool,
    on_record: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """Learn every attempt at every field of a folder.

    Args:
        knowledge: knows nothing yet.
        folder: of this plan.
        plan: all fields.
        is_checked: whether the policy compares kept frames with their neighbours.
        on_record: called with how many records are learnt, of how many.

    Returns:
        Fields whose kept frame is missing or damaged, or that were taken after steps were lost.
    """
    planned, suspects = {field.index: field for field in plan}, suspects_of(folder)
    latest = {record.index: record for record in folder.records}
    lost: list[int] = []
    _begin(knowledge, without_suspects(folder, suspects), planned)
    for done, record in enumerate(folder.attempts, 1):
        frame: Frame | None = None
        if latest[record.index] is record:
            if folder.damage(record) is None:
                frame = folder.frame(record)
            else:
                lost.append(record.index)
        if (record.index, record.attempt) in suspects:  # it shows another place than it says
            knowledge.attempts[record.index] = record.attempt
            lost += [record.index] if latest[record.index] is record and record.index not in lost else []
            continue
        _learn(knowledge, planned[record.index], record, frame, is_checked)
        if on_record:
            on_record(done, len(folder.attempts))
    return tuple(lost)


def focus_found(folder: FieldsFolder) -> dict[str, Any] | None:
    """What the journal says of the last search for the focus; the ones before were of no use. None if nothing.

    Raises:
        FileError: if the journal cannot be read.
    """
    notes = list(folder.notes("focus found"))
    return notes[-1] if notes else None


def _begin(knowledge: SlideKnowledge, folder: FieldsFolder, planned: dict[int, PlannedField]) -> None:
    """Where the scan began: its sweep, or, in folders without a journal, the first focus that was measured."""
    found = focus_found(folder)
    if found is not None:
        knowledge.begin_at(planned[int(found["field"])], float(found["sweep"]["z_um"]), 0.0)
        return
    measured = next((record for record in folder.attempts if record.focus.get("focus_sd_um") is not None), None)
    if measured is not None:
        knowledge.begin_at(planned[measured.index], float(measured.focus["focus_um"]), measured.taken_s or 0.0)


def _learn(
    knowledge: SlideKnowledge, planned: PlannedField, record: FieldRecord, frame: Frame | None, is_checked: bool
) -> None:
    """One record, with its frame where that is kept and whole."""
    now_s = record.taken_s or 0.0
    attempt = knowledge.begin_attempt(planned)
    expected = _expected(knowledge, planned, record.focus, now_s)
    result = _result(record, frame)
    asked = None
    if frame is not None and record.verdict == "focused" and record.focus.get("asked"):
        asked = knowledge.ask(planned, Shot(frame, record.stage_z_um), expected)
    if frame is not None and record.verdict == "focused":
        knowledge.steps.remember(planned, frame, record.stage_z_um)
    focus = knowledge.learn(planned, max(attempt, record.attempt), expected, result, asked, now_s)
    if focus is not None and frame is not None and is_checked:
        knowledge.judge(planned, result, focus, now_s)


def _expected(knowledge: SlideKnowledge, planned: PlannedField, told: dict[str, Any], now_s: float) -> Expectation:
    if told.get("expected_um") is None or told.get("expected_sd_um") is None:
        return knowledge.expect(planned, now_s)
    return Expectation(float(told["expected_um"]), float(told["expected_sd_um"]))


def _result(record: FieldRecord, frame: Frame | None) -> FocusResult:
    told = record.focus
    return FocusResult(
        verdict=record.verdict,
        z_um=record.stage_z_um,
        frame=_NO_FRAME if frame is None else frame,
        images=record.images,
        trace=(),
        reason=str(told.get("reason", "")),
        focus_um=_number(told.get("focus_um")),
        spread_um=_number(told.get("spread_um")),
        focus_sd_um=_number(told.get("focus_sd_um")),
        bend_per_um2=_number(told.get("bend_per_um2")),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
