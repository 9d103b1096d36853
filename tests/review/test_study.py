"""The design of a study: what is drawn, in which order it is read, and that a code tells no reader what it is."""

import dataclasses
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parfocal.errors import InputError, SettingsError
from parfocal.review.study import StudyDesign, StudyPlan, draw_fields, plan_study

SLIDES = tuple(f"slide-{number:02}" for number in range(32))
MODALITIES = ("glass", "automated-40x", "manual-40x", "manual-100x")
MISSING = {"manual-40x": SLIDES[-3:], "manual-100x": SLIDES[-3:]}


def paper_design(**changes):
    design = StudyDesign("gram", SLIDES, MODALITIES, ("A", "B"), missing=MISSING, seed=5)
    return dataclasses.replace(design, **changes)


def fields_of(design, number=200):
    return {
        (slide, how): range(number) for slide in design.slides for how in design.modalities if how != design.reference
    }


def planned(**changes):
    design = paper_design(**changes)
    return plan_study(design, fields_of(design))


@pytest.fixture(scope="module")
def paper():
    return planned()


# What is read


def test_every_reader_reads_every_slide_in_every_way_but_the_missing_ones(paper):
    wanted = {(slide, how) for slide in SLIDES for how in MODALITIES if slide not in MISSING.get(how, ())}
    for reader in ("A", "B"):
        read = [(one.case.slide, one.case.modality) for one in paper.of(reader)]
        assert len(read) == len(set(read)) == 2 * 32 + 2 * 29
        assert set(read) == wanted


def test_thirty_fields_are_drawn_of_each_slide_the_same_for_both_readers(paper):
    drawn = {}
    for one in paper.assignments:
        key = one.case.slide, one.case.modality
        assert drawn.setdefault(key, one.case.fields) == one.case.fields
        assert len(set(one.case.fields)) == (0 if key[1] == "glass" else 30)
        assert set(one.case.fields) <= set(range(200))
    assert len(set(drawn.values())) == 32 + 2 * 29 + 1


def test_whole_slides_need_no_fields():
    design = paper_design(fields_per_slide=None)
    assert all(one.case.fields == () for one in plan_study(design, {}).assignments)


def test_fields_come_in_random_order():
    drawn = draw_fields(range(200), 30, "slide", seed=1)
    assert list(drawn) != sorted(drawn)
    assert draw_fields(range(199, -1, -1), 30, "slide", seed=1) == drawn
    assert draw_fields(range(200), 30, "other", seed=1) != drawn


def test_every_field_is_as_likely_as_any_other():
    counts = Counter(field for seed in range(600) for field in draw_fields(range(20), 5, "slide", seed=seed))
    assert all(abs(counts[field] - 150) < 5 * (150 * 0.75) ** 0.5 for field in range(20))


def test_a_slide_with_fewer_fields_is_refused_as_their_number_would_tell():
    design = paper_design()
    fields = fields_of(design) | {(SLIDES[4], "manual-40x"): range(29)}
    with pytest.raises(SettingsError, match="slide-04 manual-40x: 30 fields are to be drawn, and there are 29"):
        plan_study(design, fields)


# In which order


def test_slides_are_all_read_once_before_any_is_read_again(paper):
    for reader in ("A", "B"):
        order = paper.of(reader)
        assert [one.place for one in order] == list(range(len(order)))
        assert len({one.case.slide for one in order[:32]}) == 32
        for slide in SLIDES:
            turns = [one.turn for one in order if one.case.slide == slide]
            assert turns == sorted(set(turns))


def test_every_modality_comes_first_equally_often(paper):
    first = Counter(one.case.modality for one in paper.of("A") if one.turn == 0)
    assert max(first.values()) - min(first.values()) <= 3


def test_readers_have_orders_of_their_own(paper):
    orders = [[(one.case.slide, one.case.modality) for one in paper.of(reader)] for reader in "AB"]
    assert orders[0] != orders[1]
    assert [slide for slide, _ in orders[0][:32]] != sorted(SLIDES)


def test_some_slides_are_read_twice_the_same_for_all_readers():
    plan = planned(repeats=4)
    twice = {
        reader: {(one.case.slide, one.case.modality) for one in plan.of(reader) if one.repeat == 2} for reader in "AB"
    }
    assert twice["A"] == twice["B"]
    assert Counter(how for _, how in twice["A"]) == dict.fromkeys(MODALITIES, 4)
    for one in plan.assignments:
        if one.repeat == 2:
            same = [
                o for o in plan.of(one.reader) if (o.case.slide, o.case.modality) == (one.case.slide, one.case.modality)
            ]
            (before,) = [o for o in same if o.repeat == 1]
            assert before.turn < one.turn
            assert before.case.fields == one.case.fields


# Under which code


def test_codes_are_different_and_say_nothing(paper):
    codes = [one.code for one in paper.assignments]
    labels = {one.case.label for one in paper.assignments} - {None}
    assert len({*codes, *labels}) == len(codes) + 32
    assert all(len(code) == 8 and code.isalnum() for code in codes)
    in_order = [one.code for one in paper.of("A")]
    assert in_order != sorted(in_order)


def test_a_glass_slide_bears_one_label_for_all_readers_and_images_none(paper):
    labels = {}
    for one in paper.assignments:
        if one.case.modality == "glass":
            assert labels.setdefault(one.case.slide, one.case.label) == one.case.label
        else:
            assert one.case.label is None


def test_the_second_reading_of_a_glass_has_a_label_of_its_own_the_same_for_all_readers():
    labels = {1: {}, 2: {}}
    for one in planned(repeats=4).assignments:
        if one.case.modality == "glass":
            assert labels[one.repeat].setdefault(one.case.slide, one.case.label) == one.case.label
    assert (len(labels[1]), len(labels[2])) == (32, 4)
    assert len({*labels[1].values(), *labels[2].values()}) == 36
    assert labels[1] == {one.case.slide: one.case.label for one in planned(repeats=0).assignments if one.case.label}


def test_what_a_reader_is_shown_is_the_same_for_every_image(paper):
    images = [one for one in paper.assignments if one.case.modality != "glass"]
    assert {json.dumps({**one.shown, "code": ""}) for one in images} == {'{"code": "", "label": null, "fields": 30}'}
    for one in paper.assignments:
        told = json.dumps(one.shown)
        assert one.case.slide not in told
        assert one.case.modality not in told


def test_a_reading_is_found_by_its_code(paper):
    one = paper.assignments[17]
    assert paper.with_code(one.code) is one
    with pytest.raises(InputError, match="'OTHER'"):
        paper.with_code("OTHER")


# The same again


def test_the_seed_decides_everything(paper):
    assert planned() == paper
    other = planned(seed=6)
    assert {one.code for one in other.assignments}.isdisjoint(one.code for one in paper.assignments)


def test_a_seed_is_drawn_where_none_is_given():
    seeds = {StudyDesign("gram", ("S1",), ("glass",), ("A",)).seed for _ in range(3)}
    assert len(seeds) == 3


def test_another_reader_changes_no_draw_of_the_fields(paper):
    more = planned(readers=("A", "B", "C"))
    assert {one.case for one in more.assignments} == {one.case for one in paper.assignments}
    assert [one.case for one in more.of("A")] == [one.case for one in paper.of("A")]


def test_a_plan_survives_json(paper):
    assert StudyPlan.from_json(json.loads(json.dumps(paper.to_json()))) == paper
    assert StudyDesign.from_json(json.loads(json.dumps(paper.design.to_json()))) == paper.design


def test_the_fingerprint_tells_whether_the_margin_was_changed():
    design = paper_design(margin_percent=10)
    assert design.fingerprint == paper_design(margin_percent=10).fingerprint
    assert dataclasses.replace(design, margin_percent=15).fingerprint != design.fingerprint


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"slides": ()}, "needs slides"),
        ({"readers": ("A", "A")}, "each once: A, A"),
        ({"readers": ("A", "")}, "readers of a study are named"),
        ({"reference": "microscope"}, "'microscope' is none of glass"),
        ({"missing": {"manual": ()}}, "'manual' is said to be missing"),
        ({"missing": {"glass": ("S99",)}}, "'S99' is said to be missing"),
        ({"missing": {"glass": (SLIDES[0],)}}, "'slide-00' has no glass to be compared with"),
        ({"fields_per_slide": 0}, "0 fields a slide"),
        ({"repeats": 33}, "33 slides cannot be read twice: there are 32"),
        ({"wash_out_days": -1}, "wash-out of -1 days"),
        ({"margin_percent": 0}, "margin of 0"),
        ({"seed": -1}, "seed of -1"),
    ],
)
def test_a_design_that_cannot_work_is_refused(changes, told):
    with pytest.raises(SettingsError, match=told):
        dataclasses.replace(paper_design(), **changes)


def test_a_key_that_a_design_does_not_have_is_refused():
    with pytest.raises(SettingsError, match="study: margin"):
        StudyDesign.from_json({**paper_design().to_json(), "margin": 10})


def test_json_that_is_no_design_is_refused():
    with pytest.raises(SettingsError, match="study: slides"):
        StudyDesign.from_json({"name": "x", "slides": 3, "modalities": ["glass"], "readers": ["A"]})


@settings(deadline=None)
@given(
    slides=st.integers(1, 6), modalities=st.integers(1, 4), readers=st.integers(1, 3), repeats=st.integers(0, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_design_is_planned_completely(slides, modalities, readers, repeats, seed):
    design = StudyDesign(
        "any", tuple(f"s{n}" for n in range(slides)), MODALITIES[:modalities], tuple("ABC"[:readers]),
        fields_per_slide=3, repeats=min(repeats, slides), seed=seed,
    )  # fmt: skip
    plan = plan_study(design, fields_of(design, 5))
    assert len(plan.assignments) == readers * modalities * (slides + min(repeats, slides))
    assert len({one.code for one in plan.assignments}) == len(plan.assignments)
    for reader in design.readers:
        turns = [one.turn for one in plan.of(reader)]
        assert turns == sorted(turns)


@pytest.mark.parametrize(("what", "most"), [("slides", 500), ("modalities", 64), ("readers", 64)])
def test_a_name_that_no_database_keeps_is_refused_before_the_study_starts(what, most):
    names = {"slides": ("a",), "modalities": ("b",), "readers": ("c",)}
    StudyDesign("x", **names | {what: ("n" * most,)}, reference=None)
    with pytest.raises(SettingsError, match=f"at most {most}"):
        StudyDesign("x", **names | {what: ("n" * (most + 1),)}, reference=None)
