"""Agreement of readers: the paper's Tables 3 and 4, what counts as what, and rules that hold for any readings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import paper_rows, write_csv

from parfocal.errors import InputError
from parfocal.review.agreement import (
    Comparison,
    agreement_between_readers,
    agreement_of_pairs,
    agreement_with_reference,
    discordances,
    reason,
    with_reference,
)
from parfocal.review.readings import Reading, read_readings
from parfocal.review.statistics import gwet, kappa, numbered


def reading(reader, slide, modality, *organisms, **more):
    return Reading(reader, slide, modality, frozenset(organisms), **more)


def compared(reference, found):
    return Comparison(reading("A", "S1", "scan", *found), reading("A", "S1", "glass", *reference))


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return read_readings(write_csv(tmp_path_factory.mktemp("paper") / "readings.csv", paper_rows()))


# The paper


@pytest.mark.parametrize(
    ("reader", "modality", "n", "concurrences", "surpassed", "percent", "strict"),
    [
        ("1", "automated-40x", 32, 28, 6, 87.5, 22),
        ("1", "manual-40x", 29, 24, 5, 82.75862068965517, 19),
        ("1", "manual-100x", 29, 23, 5, 79.3103448275862, 18),
        ("2", "automated-40x", 32, 30, 3, 93.75, 27),
        ("2", "manual-40x", 29, 26, 4, 89.65517241379311, 22),
        ("2", "manual-100x", 29, 27, 4, 93.10344827586206, 23),
    ],
)
def test_tables_3_and_4(paper, reader, modality, n, concurrences, surpassed, percent, strict):
    (row,) = [o for o in agreement_with_reference(paper, "glass") if (o.reader, o.modality) == (reader, modality)]
    figures = row.to_json()
    assert (figures["n"], figures["concurrences"], figures["surpassed"]) == (n, concurrences, surpassed)
    assert figures["non_concurrences"] == n - concurrences
    assert figures["percent"] == pytest.approx(percent, abs=1e-9)
    assert figures["strict"]["concurrences"] == strict
    assert figures["strict"]["percent"] == pytest.approx(100 * strict / n, abs=1e-9)


@pytest.mark.parametrize(
    ("reader", "interval", "strict"), [("1", (71.9, 95.0), (51.4, 82.0)), ("2", (79.9, 98.3), (68.2, 93.1))]
)
def test_their_wilson_intervals(paper, reader, interval, strict):
    (row,) = [
        o for o in agreement_with_reference(paper, "glass") if (o.reader, o.modality) == (reader, "automated-40x")
    ]
    assert row.lenient.wilson95 == pytest.approx(interval, abs=0.05)
    assert row.strict.wilson95 == pytest.approx(strict, abs=0.05)


def test_the_readers_on_glass(paper):
    between = {one.modality: one for one in agreement_between_readers(paper)}
    figures = between["glass"].to_json()
    assert (figures["concurrences"], figures["n"], figures["percent"]) == (24, 32, 75.0)
    assert figures["wilson95"] == pytest.approx((57.9, 86.7), abs=0.05)
    assert figures["kappa"] == pytest.approx(0.3962264150943396, abs=1e-9)  # these three by irrCAC, as below
    assert figures["fleiss_kappa"] == pytest.approx(0.3527180783817952, abs=1e-9)
    assert figures["gwet_ac1"] == pytest.approx(0.6901664145234493, abs=1e-9)


# Kappa and AC1 of these readings, made once by irrCAC 0.4.4 from the same CSV: CAC of the two columns of answers, each
# the sorted set of organisms, then .conger() and .gwet().
CHANCE_CORRECTED = {
    ("1", "automated-40x"): (0.3333333333333333, 0.6490265972031807),
    ("1", "manual-40x"): (0.324009324009324, 0.6089008766014834),
    ("1", "manual-100x"): (0.2973568281938324, 0.5672375784297101),
    ("2", "automated-40x"): (0.7328881469115192, 0.8066465256797583),
    ("2", "manual-40x"): (0.5923694779116466, 0.7019818938096403),
    ("2", "manual-100x"): (0.6390041493775933, 0.745985401459854),
}


def test_their_kappas_and_ac1s_are_those_of_irrcac(paper):
    for row in agreement_with_reference(paper, "glass"):
        figures = row.to_json()
        known = CHANCE_CORRECTED[row.reader, row.modality]
        assert (figures["kappa"], figures["gwet_ac1"]) == pytest.approx(known, rel=0, abs=1e-9)


# What counts as what


@pytest.mark.parametrize(
    ("reference", "found", "verdict"),
    [
        ("", "", "concurrence"),
        ("a", "a", "concurrence"),
        ("ab", "ba", "concurrence"),
        ("", "a", "surpassed"),
        ("a", "ab", "surpassed"),
        ("a", "", "non-concurrence"),
        ("ab", "a", "non-concurrence"),
        ("a", "b", "non-concurrence"),
        ("ab", "bc", "non-concurrence"),
    ],
)
def test_the_verdict_on_two_readings(reference, found, verdict):
    assert compared(reference, found).verdict == verdict


def test_non_interpretable_concurs_with_nothing_but_itself():
    unread = reading("A", "S1", "scan", interpretable=False)
    unread_glass = reading("A", "S1", "glass", interpretable=False)
    assert Comparison(unread, reading("A", "S1", "glass")).verdict == "non-concurrence"
    assert Comparison(reading("A", "S1", "scan", "a"), unread_glass).verdict == "non-concurrence"
    assert Comparison(unread, unread_glass).verdict == "concurrence"


def test_of_repeats_the_first_counts():
    readings = [
        reading("A", "S1", "scan", "b", repeat=2),
        reading("A", "S1", "scan", "a"),
        reading("A", "S1", "glass", "a"),
    ]
    (row,) = agreement_with_reference(readings, "glass")
    assert row.strict.concurrences == 1


def test_kappa_and_ac1_take_the_whole_set_for_one_category():
    pairs = [("a", "a"), ("a", "ab"), ("", ""), ("b", "a"), ("ab", "ab"), ("a", "a")]
    readings = [
        reading("A", f"S{number}", modality, *found)
        for number, pair in enumerate(pairs)
        for modality, found in zip(("glass", "scan"), pair, strict=True)
    ]
    (row,) = agreement_with_reference(readings, "glass")
    ratings = numbered(pairs)
    assert row.to_json()["kappa"] == pytest.approx(kappa(ratings, 4), abs=1e-12)
    assert row.to_json()["gwet_ac1"] == pytest.approx(gwet(ratings, 4), abs=1e-12)


def test_where_all_answers_are_the_same_kappa_and_ac1_are_undefined():
    readings = [reading("A", f"S{n}", modality, "a") for n in range(3) for modality in ("glass", "scan")]
    (row,) = agreement_with_reference(readings, "glass")
    assert row.to_json()["kappa"] is None
    assert row.to_json()["gwet_ac1"] is None
    assert row.to_json()["percent"] == 100


# Between readers


def test_readers_are_compared_on_the_slides_that_all_of_them_read():
    readings = [
        reading("A", "S1", "glass", "a"),
        reading("B", "S1", "glass", "a"),
        reading("A", "S2", "glass", "a"),
        reading("A", "S1", "scan", "a"),
    ]
    (one,) = agreement_between_readers(readings)
    assert (one.modality, one.readers, one.slides) == ("glass", ("A", "B"), ("S1",))


def test_of_three_readers_kappa_is_fleiss():
    found = {"S1": "aab", "S2": "bbb", "S3": "aaa", "S4": "abc"}
    readings = [
        reading(reader, slide, "glass", answer)
        for slide, answers in found.items()
        for reader, answer in zip("ABC", answers, strict=True)
    ]
    (one,) = agreement_between_readers(readings)
    figures = one.to_json()
    assert figures["concurrences"] == 2
    assert figures["kappa"] == figures["fleiss_kappa"]


def test_more_than_two_readers_are_compared_two_at_a_time_too():
    """No slide was read by all three: together they tell nothing, two at a time they do."""
    read = {"S1": "AB", "S2": "AB", "S3": "BC"}
    readings = [reading(who, slide, "glass", "a") for slide, readers in read.items() for who in readers]
    assert agreement_between_readers(readings) == ()
    assert [(one.readers, len(one.slides)) for one in agreement_of_pairs(readings)] == [
        (("A", "B"), 2),
        (("B", "C"), 1),
    ]


def test_two_readers_are_a_pair_already(paper):
    assert agreement_of_pairs(paper) == ()


# Mistakes


def test_an_unknown_reference_is_told_with_those_that_are_there(paper):
    with pytest.raises(InputError, match="'microscope'; there are automated-40x, glass, manual-100x, manual-40x"):
        agreement_with_reference(paper, "microscope")


def test_a_slide_without_a_reference_reading_is_told(paper):
    left = [one for one in paper if (one.reader, one.slide, one.modality) != ("2", "S03", "glass")]
    with pytest.raises(InputError, match="no glass reading by the same reader for reader 2, slide S03, automated-40x"):
        agreement_with_reference(left, "glass")


def test_of_many_such_slides_five_are_named(paper):
    left = [one for one in paper if (one.reader, one.modality) != ("2", "glass")]
    with pytest.raises(InputError, match="and 85 more"):
        agreement_with_reference(left, "glass")


def test_what_has_no_reference_can_be_left_out_on_purpose(paper):
    left = [one for one in paper if (one.reader, one.slide, one.modality) != ("2", "S03", "glass")]
    kept = with_reference(left, "glass")
    assert len(left) - len(kept) == 3
    counts = {(row.reader, row.modality): row.lenient.count for row in agreement_with_reference(kept, "glass")}
    assert (counts["1", "automated-40x"], counts["2", "automated-40x"]) == (32, 31)


# Discordances


def test_every_discordance_is_listed_with_its_reason(paper):
    rows = agreement_with_reference(paper, "glass")
    found = discordances(rows)
    assert len(found) == sum(row.number("surpassed") + row.number("non-concurrence") for row in rows) == 27 + 22
    assert all(reason(one) for one in found)


@pytest.mark.parametrize(
    ("reference", "found", "words"),
    [
        ("ab", "a", "not found in scan: b"),
        ("a", "abc", "found in scan only: b; c"),
        ("a", "b", "not found in scan: a, found in scan only: b"),
    ],
)
def test_reasons(reference, found, words):
    assert reason(compared(reference, found)) == words


def test_a_reading_that_could_not_be_interpreted_is_the_reason():
    one = Comparison(reading("A", "S1", "scan", interpretable=False), reading("A", "S1", "glass", "a"))
    assert reason(one) == "non-interpretable in scan"


# Whatever the readings

answers = st.frozensets(st.sampled_from(["cocci", "bacilli", "yeast"]))
studies = st.lists(st.tuples(answers, answers, answers, answers), min_size=1, max_size=12).map(
    lambda rows: [
        Reading(reader, f"S{number}", modality, found)
        for number, row in enumerate(rows)
        for (reader, modality), found in zip(
            (("A", "glass"), ("A", "scan"), ("B", "glass"), ("B", "scan")), row, strict=True
        )
    ]
)


def everything(readings):
    rows = [one.to_json() for one in agreement_with_reference(readings, "glass")]
    return rows, [one.to_json() for one in agreement_between_readers(readings)]


@settings(deadline=None, max_examples=50)
@given(studies, st.randoms(use_true_random=False))
def test_the_order_of_the_readings_changes_nothing(readings, random):
    shuffled = list(readings)
    random.shuffle(shuffled)
    assert everything(shuffled) == everything(readings)


@settings(deadline=None, max_examples=50)
@given(studies)
def test_the_strict_count_is_at_most_the_papers(readings):
    for one in agreement_with_reference(readings, "glass"):
        assert one.strict.concurrences + one.number("surpassed") == one.lenient.concurrences
        assert one.lenient.concurrences + one.number("non-concurrence") == len(one.comparisons)
        assert one.strict.percent <= one.lenient.percent


@settings(deadline=None, max_examples=50)
@given(studies)
def test_a_reader_agrees_with_himself(readings):
    glass = [one for one in readings if one.modality == "glass"]
    again = [Reading(one.reader, one.slide, "again", one.organisms) for one in glass]
    for one in agreement_with_reference([*glass, *again], "glass"):
        figures = one.to_json()
        assert figures["percent"] == figures["strict"]["percent"] == 100
        assert figures["kappa"] in (None, pytest.approx(1))
        assert figures["gwet_ac1"] in (None, pytest.approx(1))


@settings(deadline=None, max_examples=50)
@given(studies)
def test_names_of_organisms_do_not_matter(readings):
    other = {"cocci": "x", "bacilli": "z", "yeast": "y"}
    named = [Reading(o.reader, o.slide, o.modality, frozenset(other[name] for name in o.organisms)) for o in readings]
    both = [agreement_with_reference(each, "glass") for each in (named, readings)]
    for one, before in zip(*both, strict=True):
        assert (one.strict, one.lenient) == (before.strict, before.lenient)
        for figure in ("kappa", "gwet_ac1"):
            assert one.to_json()[figure] == pytest.approx(before.to_json()[figure], abs=1e-12)
