"""How far a reading of a study is: waiting, open, paused or submitted. Each step is a new value; nothing is undone.

Times are aware datetimes that the caller gives; nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from parfocal.errors import InputError
from parfocal.review.readings import NON_INTERPRETABLE, Reading
from parfocal.review.study import Assignment, StudyPlan

Phase = Literal["waiting", "open", "paused", "submitted", "discarded"]


@dataclass(frozen=True)
class Answer:
    """What a reader found.

    Attributes:
        organisms: as in the report form; empty where none was seen.
        interpretable: False where the reader could not tell; there are no organisms then.
        grades: 1 to 4 of the organisms that were graded.
    """

    organisms: frozenset[str] = frozenset()
    interpretable: bool = True
    grades: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not self.interpretable and self.organisms:
            raise InputError(
                f"an answer is {NON_INTERPRETABLE} or names organisms: {'; '.join(sorted(self.organisms))}"
            )


@dataclass(frozen=True)
class ReadingState:
    """Where a reading stands.

    Attributes:
        phase: waiting → open ⇄ paused → submitted; an open one can be submitted too. The draft of a report can be
            discarded, a reading of a study cannot.
        since: when this phase began; None while waiting.
        seconds: for which it was open before that.
        answer: what was saved so far; final once submitted.
        submitted_at: when it was.
    """

    phase: Phase = "waiting"
    since: datetime | None = None
    seconds: float = 0.0
    answer: Answer | None = None
    submitted_at: datetime | None = None

    def begin(self, at: datetime) -> ReadingState:
        """Open it for the first time."""
        return replace(self._from("begun", "waiting"), phase="open", since=at)

    def pause(self, at: datetime) -> ReadingState:
        """Put it aside; what was saved is kept."""
        return replace(self._from("paused", "open"), phase="paused", since=at, seconds=self._spent(at))

    def resume(self, at: datetime) -> ReadingState:
        """Go on."""
        return replace(self._from("continued", "paused"), phase="open", since=at)

    def save(self, answer: Answer) -> ReadingState:
        """Keep an answer that is not final."""
        return replace(self._from("saved", "open", "paused"), answer=answer)

    def submit(self, answer: Answer, at: datetime) -> ReadingState:
        """Make it final: it is not changed any more."""
        spent = self._spent(at) if self.phase == "open" else self.seconds
        done = self._from("submitted", "open", "paused")
        return replace(done, phase="submitted", since=at, seconds=spent, answer=answer, submitted_at=at)

    def discard(self, at: datetime) -> ReadingState:
        """Give up the draft of a report."""
        return replace(self._from("discarded", "open", "paused"), phase="discarded", since=at)

    def _from(self, done: str, *phases: Phase) -> ReadingState:
        if self.phase not in phases:
            raise InputError(
                f"a reading that is {self.phase} cannot be {done}: it would have to be {' or '.join(phases)}"
            )
        return self

    def _spent(self, at: datetime) -> float:
        return self.seconds + max(0.0, (at - self.since).total_seconds()) if self.since else self.seconds


States = Mapping[str, ReadingState]
"""States by code; a reading that is not in it waits."""


def free_from(plan: StudyPlan, assignment: Assignment, states: States) -> datetime | None:
    """When the wash-out lets a reading begin: after the same reader's last reading of the same slide, in any modality.

    None where he has not read it yet.
    """
    wash_out = timedelta(days=plan.design.wash_out_days)
    ends = [
        state.submitted_at + wash_out
        for one in _same_slide(plan, assignment)
        if (state := states.get(one.code)) is not None and state.submitted_at is not None
    ]
    return max(ends, default=None)


def may_begin(plan: StudyPlan, assignment: Assignment, states: States, at: datetime) -> bool:
    """Whether a waiting reading may be opened: the wash-out is over, and no other reading of the slide is under way."""
    if states.get(assignment.code, ReadingState()).phase != "waiting":
        return False
    under_way = any(
        states.get(one.code, ReadingState()).phase in ("open", "paused") for one in _same_slide(plan, assignment)
    )
    free = free_from(plan, assignment, states)
    return not under_way and (free is None or free <= at)


def next_reading(plan: StudyPlan, reader: str, states: States, at: datetime) -> Assignment | None:
    """What a reader does next: what is under way, else the first in his order that may begin; None if there is none."""
    order = plan.of(reader)
    for phase in ("open", "paused"):
        for one in order:
            if states.get(one.code, ReadingState()).phase == phase:
                return one
    return next((one for one in order if may_begin(plan, one, states, at)), None)


def submitted_readings(plan: StudyPlan, states: States) -> tuple[Reading, ...]:
    """What was submitted so far, for the agreement, in the order of the plan."""
    found = []
    for one in plan.assignments:
        state = states.get(one.code)
        if state is not None and state.phase == "submitted" and state.answer is not None:
            answer, case = state.answer, one.case
            grades = dict(answer.grades or {})
            found.append(
                Reading(
                    one.reader,
                    case.slide,
                    case.modality,
                    answer.organisms,
                    answer.interpretable,
                    one.repeat,
                    grades,
                )
            )
    return tuple(found)


def is_complete(plan: StudyPlan, states: States) -> bool:
    """Whether everything was submitted: unblinding before that spoils what is left."""
    return all(states.get(one.code, ReadingState()).phase == "submitted" for one in plan.assignments)


def _same_slide(plan: StudyPlan, assignment: Assignment) -> Iterable[Assignment]:
    """The same reader's other readings of the slide."""
    return (
        one
        for one in plan.assignments
        if one.reader == assignment.reader and one.case.slide == assignment.case.slide and one.code != assignment.code
    )
