"""Ways of reading against each other, readers with themselves, and grades."""

import pytest

from parfocal.errors import SettingsError
from parfocal.review.agreement import agreement_between_readers, agreement_with_reference
from parfocal.review.comparisons import (
    checked_margin,
    compare_modalities,
    compare_with_glass,
    grade_agreement,
    repeatability,
)
from parfocal.review.readings import Reading
from parfocal.review.statistics import PairedShares, gwet, kappa


def reading(reader, number, modality, *organisms, **more):
    return Reading(reader, f"S{number}", modality, frozenset(organisms), **more)


def two_ways(answers):
    """A reader who saw `a` on every glass slide, and what was seen in two other ways; "-" for a slide not read."""
    readings = []
    for number, (auto, hand) in enumerate(answers):
        readings.append(reading("A", number, "glass", "a"))
        readings += [reading("A", number, m, *found) for m, found in (("auto", auto), ("hand", hand)) if found != "-"]
    return readings


def test_two_ways_are_compared_on_the_slides_that_both_have():
    agreements = agreement_with_reference(
        two_ways([("a", "a"), ("a", "b"), ("b", "b"), ("a", "-"), ("ab", "b")]), "glass"
    )
    (lenient,) = compare_modalities(agreements, strict=False)
    (strict,) = compare_modalities(agreements, strict=True)
    assert (lenient.first, lenient.second) == ("auto", "hand")
    assert lenient.pairs == PairedShares(both=1, first_only=2, second_only=0, neither=1)
    assert strict.pairs == PairedShares(both=1, first_only=1, second_only=0, neither=2)


def test_ways_without_a_slide_in_common_are_not_compared():
    agreements = agreement_with_reference(two_ways([("a", "-"), ("-", "a")]), "glass")
    assert compare_modalities(agreements, strict=False) == ()


def test_non_inferiority_is_told_for_both_directions():
    agreements = agreement_with_reference(two_ways([("a", "a")] * 55 + [("a", "b")] * 5), "glass")
    (one,) = compare_modalities(agreements, strict=False)
    figures = one.to_json(10)
    assert figures["difference"] == pytest.approx(100 * 5 / 60)
    assert (figures["first_non_inferior"], figures["second_non_inferior"]) == (True, False)
    assert one.to_json(None)["first_non_inferior"] is None


@pytest.mark.parametrize("margin", [0, -5, 100])
def test_a_margin_is_between_0_and_100_points(margin):
    with pytest.raises(SettingsError, match="percentage points"):
        checked_margin(margin)


def test_readers_may_agree_better_or_worse_than_on_glass():
    readings = [
        reading(reader, number, modality, found)
        for number, answers in enumerate(["aaab", "aaaa", "abaa"])
        for (reader, modality), found in zip(
            (("A", "glass"), ("B", "glass"), ("A", "scan"), ("B", "scan")), answers, strict=True
        )
    ]
    (one,) = compare_with_glass(agreement_between_readers(readings), "glass")
    assert (one.first, one.second) == ("scan", "glass")
    assert one.pairs == PairedShares(both=1, first_only=1, second_only=1, neither=0)


def test_a_single_reader_has_nobody_to_be_compared_with():
    assert compare_with_glass(agreement_between_readers([reading("A", 1, "glass", "a")]), "glass") == ()


def test_readers_are_compared_with_themselves():
    answers = [("a", "a"), ("a", "b"), ("b", "b"), ("ab", "ab")]
    readings = [
        reading("A", number, "scan", *found, repeat=repeat)
        for number, pair in enumerate(answers)
        for repeat, found in enumerate(pair, start=1)
    ]
    (one,) = repeatability([*readings, reading("A", 9, "scan", "a"), reading("A", 0, "scan", "b", repeat=3)])
    assert (one["reader"], one["modality"], one["n"], one["concurrences"]) == ("A", "scan", 4, 3)
    ratings = [(0, 0), (0, 2), (2, 2), (1, 1)]
    assert one["kappa"] == pytest.approx(kappa(ratings, 3))
    assert one["gwet_ac1"] == pytest.approx(gwet(ratings, 3))


def test_grades_are_compared_by_organism_with_0_where_it_was_not_seen():
    glass, scan = [1, 2, 0, 4, 3], [1, 3, 1, 4, 0]
    readings = [
        reading("A", number, modality, *(["a"] if grade else []), grades={"a": grade} if grade else {})
        for modality, grades in (("glass", glass), ("scan", scan))
        for number, grade in enumerate(grades)
    ]
    ungraded = [reading("A", 8, "glass", "a"), reading("A", 8, "scan", "a", grades={"a": 1})]
    (one,) = grade_agreement([*readings, *ungraded], "glass")
    pairs = list(zip(glass, scan, strict=True))
    assert (one["organism"], one["n"], one["same_grade"]) == ("a", 5, 2)
    assert one["weighted_kappa"] == pytest.approx(kappa(pairs, 5, "quadratic"))
    assert one["gwet_ac2"] == pytest.approx(gwet(pairs, 5, "quadratic"))


def test_readings_without_grades_have_no_agreement_of_grades():
    assert grade_agreement([reading("A", 1, "glass", "a"), reading("A", 1, "scan", "a")], "glass") == []
