"""The life of a reading, and the wash-out between two readings of a slide."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from parfocal.errors import InputError
from parfocal.review.agreement import agreement_with_reference
from parfocal.review.reading_state import (
    Answer,
    ReadingState,
    free_from,
    is_complete,
    may_begin,
    next_reading,
    submitted_readings,
)
from parfocal.review.study import StudyDesign, plan_study

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FOUND = Answer(frozenset({"yeast"}))


def later(**time):
    return NOON + timedelta(**time)


def done(at, answer=FOUND):
    return ReadingState().begin(at).submit(answer, at)


@pytest.fixture
def plan():
    design = StudyDesign(
        "two", ("S1", "S2"), ("glass", "scan"), ("A", "B"), fields_per_slide=2, wash_out_days=14, seed=1
    )
    return plan_study(design, {(slide, "scan"): range(9) for slide in design.slides})


# One reading


def test_a_reading_goes_from_waiting_to_submitted_and_counts_the_time_it_was_open():
    state = ReadingState().begin(NOON)
    state = state.save(FOUND).pause(later(minutes=5))
    assert (state.phase, state.seconds, state.answer) == ("paused", 300, FOUND)
    state = state.resume(later(hours=3)).submit(Answer(), later(hours=3, minutes=1))
    assert (state.phase, state.seconds, state.answer) == ("submitted", 360, Answer())
    assert state.submitted_at == later(hours=3, minutes=1)


def test_a_paused_reading_can_be_submitted_without_time_in_between():
    state = ReadingState().begin(NOON).pause(later(minutes=2)).submit(FOUND, later(days=1))
    assert (state.phase, state.seconds) == ("submitted", 120)


STEPS = {
    "begun": lambda state: state.begin(NOON),
    "paused": lambda state: state.pause(NOON),
    "continued": lambda state: state.resume(NOON),
    "saved": lambda state: state.save(FOUND),
    "submitted": lambda state: state.submit(FOUND, NOON),
}
PHASES = {
    "waiting": ReadingState(),
    "open": ReadingState().begin(NOON),
    "paused": ReadingState().begin(NOON).pause(NOON),
    "submitted": done(NOON),
}
ALLOWED = {
    ("waiting", "begun"), ("open", "paused"), ("open", "saved"), ("open", "submitted"), ("paused", "continued"),
    ("paused", "saved"), ("paused", "submitted"),
}  # fmt: skip


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(PHASES, STEPS)))
def test_no_other_step_is_possible(phase, step):
    if (phase, step) in ALLOWED:
        assert STEPS[step](PHASES[phase]) != PHASES[phase]
    else:
        with pytest.raises(InputError, match=f"{phase} cannot be {step}"):
            STEPS[step](PHASES[phase])


def test_a_clock_that_is_put_back_takes_no_time_away():
    assert ReadingState().begin(NOON).pause(later(hours=-1)).seconds == 0


def test_non_interpretable_is_an_answer_without_organisms():
    assert Answer(interpretable=False).organisms == frozenset()
    with pytest.raises(InputError, match="non-interpretable or names organisms: yeast"):
        Answer(frozenset({"yeast"}), interpretable=False)


# Wash-out


def test_a_slide_is_read_again_only_after_the_wash_out(plan):
    first, second = (one for one in plan.of("A") if one.case.slide == "S1")
    states = {first.code: done(NOON)}
    assert free_from(plan, second, states) == later(days=14)
    assert not may_begin(plan, second, states, later(days=14, seconds=-1))
    assert may_begin(plan, second, states, later(days=14))


def test_other_slides_and_other_readers_do_not_wait(plan):
    first = plan.of("A")[0]
    states = {first.code: done(NOON)}
    for one in plan.assignments:
        if one.reader == "B" or one.case.slide != first.case.slide:
            assert free_from(plan, one, states) is None
            assert may_begin(plan, one, states, NOON)


def test_a_slide_is_not_opened_while_another_reading_of_it_is_under_way(plan):
    first, second = (one for one in plan.of("A") if one.case.slide == "S1")
    assert not may_begin(plan, second, {first.code: PHASES["paused"]}, later(days=99))


def test_what_was_begun_is_not_begun_again(plan):
    one = plan.of("A")[0]
    assert not may_begin(plan, one, {one.code: PHASES["open"]}, later(days=99))


def test_a_reader_follows_his_order_and_waits_where_he_must(plan):
    order = plan.of("A")
    assert next_reading(plan, "A", {}, NOON) == order[0]
    assert next_reading(plan, "A", {order[0].code: done(NOON)}, NOON) == order[1]
    both = {one.code: done(NOON) for one in order[:2]}
    assert next_reading(plan, "A", both, later(days=13)) is None
    assert next_reading(plan, "A", both, later(days=14)) == order[2]


def test_what_is_under_way_comes_first(plan):
    order = plan.of("A")
    assert next_reading(plan, "A", {order[1].code: PHASES["paused"]}, NOON) == order[1]


# The end


def test_submitted_readings_are_those_of_the_agreement(plan):
    answers = {"glass": Answer(frozenset({"yeast"}), grades={"yeast": 2}), "scan": Answer(interpretable=False)}
    states = {one.code: done(NOON, answers[one.case.modality]) for one in plan.assignments}
    readings = submitted_readings(plan, states)
    assert len(readings) == len(plan.assignments)
    assert {one.grade("yeast") for one in readings if one.modality == "glass"} == {2}
    rows = agreement_with_reference(readings, "glass")
    assert {(row.reader, row.lenient.concurrences, row.lenient.count) for row in rows} == {("A", 0, 2), ("B", 0, 2)}


def test_a_study_is_complete_when_all_is_submitted(plan):
    states = {one.code: done(NOON) for one in plan.assignments}
    assert is_complete(plan, states)
    del states[plan.assignments[0].code]
    assert not is_complete(plan, states)
    assert len(submitted_readings(plan, states)) == len(plan.assignments) - 1
