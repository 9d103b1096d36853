"""Reports: graded by their form, signed, amended and never overwritten."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from parfocal.errors import FileError, InputError, SettingsError
from parfocal.review.findings import answer_of
from parfocal.review.report import Report, check_history, read_report, report_from_json, write_report
from parfocal.review.report_forms import load_form
from parfocal.review.statistics import wilson

OIL = 0.0314159265358979
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def gram(**changes):
    content = {
        "fields": 10,
        "field_area_mm2": OIL,
        "counts": {"gpc-clusters": 60, "gpc-pairs": 60, "gnb": 0, "pus": 30, "epithelial": 200},
        "answers": {"comment": "thick"},
    }
    return Report(load_form("gram"), "K7M2", **{**content, **changes})


def grades(report):
    return {one.key: one.grade for one in report.findings}


# What it says


def test_counts_are_graded_by_the_form():
    assert grades(gram()) == {"gpc-clusters": "2+", "gpc-pairs": "2+", "gnb": "0", "pus": "2+", "epithelial": "4+"}


def test_what_was_not_looked_for_is_not_reported():
    assert "yeast" not in grades(gram())


def test_cells_may_be_graded_per_low_power_field():
    report = gram(field_area_mm2=100 * OIL, graded_in={"cells": "low-power"})
    assert grades(report)["epithelial"] == "4+"
    assert grades(replace(report, graded_in={}))["epithelial"] == "1+"
    assert {one.area for one in report.findings} == {"oil-immersion field", "low-power field"}


def test_a_differential_is_told_as_shares_with_intervals():
    report = Report(load_form("blood-smear"), "S", counts={"neutrophil": 60, "lymphocyte": 40})
    first = report.findings[0]
    assert first.percent == 60
    assert first.wilson95 == pytest.approx([100 * end for end in wilson(60, 100)])
    nothing = Report(load_form("blood-smear"), "S", counts={"neutrophil": 0})
    assert nothing.findings[0].percent is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"slide": ""}, "code of its slide"),
        ({"counts": {"gpc": 1}}, "does not ask for 'gpc'"),
        ({"counts": {"comment": 1}}, "comment is no count"),
        ({"counts": {"gnb": -1}}, "gnb: a count of -1"),
        ({"fields": None}, "needs the number of fields"),
        ({"fields": 0}, "in 0 fields"),
        ({"answers": {"gnb": "many"}}, "gnb is counted"),
        ({"graded_in": {"bacteria": "low-power"}}, "not in 'low-power'"),
        ({"graded_in": {"rods": "oil"}}, "no scale 'rods'"),
        ({"interpretable": False}, "non-interpretable, and yet gpc-clusters"),
        ({"version": 2}, "version 2 of report .* amends nothing"),
    ],
)
def test_what_does_not_fit_the_form_is_refused(changes, told):
    with pytest.raises(InputError, match=told):
        replace(gram(), **changes)


def test_a_choice_is_one_of_its_options():
    with pytest.raises(InputError, match="platelets: 'some' is none of low, adequate, high, clumped"):
        Report(load_form("blood-smear"), "S", answers={"platelets": "some"})


# In the agreement of readers


def test_cocci_are_one_finding_graded_by_their_sum():
    answer = answer_of(gram())
    assert answer.organisms == {"gram-positive cocci"}
    assert answer.grades == {"gram-positive cocci": 3}


def test_names_are_findings_too_and_non_interpretable_is_an_answer():
    free = Report(load_form("free"), "S", answers={"findings": "Yeast; plasmodium"})
    assert answer_of(free).organisms == {"yeast", "plasmodium"}
    assert not answer_of(Report(load_form("gram"), "S", interpretable=False)).interpretable


# Signed and amended


def test_a_signature_says_who_when_and_over_what():
    report = gram().sign("Dr. A", datetime(2026, 3, 2, 17, 30, 0, 5, tzinfo=timezone(timedelta(hours=5, minutes=30))))
    assert report.signature.reader == "Dr. A"
    assert report.signature.at == NOON
    assert report.is_intact
    assert not gram().is_intact


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {"gnb": 1}},
        {"answers": {}},
        {"slide": "OTHER"},
        {"fields": 11},
        {"interpretable": False, "counts": {}},
        {"number": "another"},
    ],
)
def test_a_change_after_the_signature_shows(changes):
    assert not replace(gram().sign("Dr. A", NOON), **changes).is_intact


def test_another_name_or_time_under_a_report_shows():
    report = gram().sign("Dr. A", NOON)
    for changes in ({"reader": "Dr. B"}, {"at": NOON + timedelta(days=1)}):
        assert not replace(report, signature=replace(report.signature, **changes)).is_intact


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (lambda: gram().sign("Dr. A", NOON).sign("Dr. B", NOON), "was signed by Dr. A"),
        (lambda: gram().sign(" ", NOON), "nobody signs it"),
        (lambda: gram().sign("Dr. A", datetime(2026, 3, 2)), "no time zone"),
        (lambda: gram().amend("why"), "is a draft"),
        (lambda: gram().sign("Dr. A", NOON).amend(" "), "needs a reason"),
        (lambda: replace(gram().sign("Dr. A", NOON), fields=11).amend("why"), "was changed after Dr. A"),
    ],
)
def test_what_cannot_be_signed_or_amended_is_told(sign, told):
    with pytest.raises(InputError, match=told):
        sign()


def test_an_amendment_is_a_new_version_that_names_the_one_it_replaces():
    first = gram().sign("Dr. A", NOON)
    second = first.amend("miscounted", counts={"gnb": 9})
    assert (second.version, second.number, second.amends) == (2, first.number, first.signature.digest)
    assert second.signature is None
    assert first.counts["gpc-clusters"] == 60
    assert first.is_intact
    assert check_history([second.sign("Dr. B", NOON), first])[0] == first


def test_a_history_with_a_gap_or_a_draft_or_a_change_is_refused():
    first = gram().sign("Dr. A", NOON)
    second = first.amend("miscounted").sign("Dr. A", NOON)
    third = second.amend("again").sign("Dr. A", NOON)
    with pytest.raises(InputError, match="first version"):
        check_history([second])
    with pytest.raises(InputError, match=r"version 3 .* does not amend version 1"):
        check_history([first, third])
    with pytest.raises(InputError, match=r"version 2 .* is not signed"):
        check_history([first, replace(second, signature=None)])
    with pytest.raises(InputError, match=r"version 1 .* was changed"):
        check_history([replace(first, slide="OTHER"), second])


# As JSON


def test_findings_of_an_older_version_may_differ_in_the_last_digit_and_lack_what_was_not_told_then():
    values = gram().to_json()
    before = report_from_json(values)
    for one in values["findings"]:
        one["mean"] = None if one["mean"] is None else one["mean"] * (1 + 1e-12)
        del one["wilson95"]
    assert report_from_json(values) == before
    values["findings"][0]["grade"] = "4+"
    with pytest.raises(FileError, match="findings are not those of its counts"):
        report_from_json(values)


def test_a_report_survives_json_signed_or_not(tmp_path):
    for name, report in (("draft", gram()), ("signed", gram().sign("Dr. Ž", NOON))):
        write_report(report, tmp_path / f"{name}.json")
        read = read_report(tmp_path / f"{name}.json")
        assert read == report
        assert read.is_intact == report.is_intact


def test_a_written_report_is_never_overwritten(tmp_path):
    write_report(gram().sign("Dr. A", NOON), tmp_path / "report.json")
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(FileError, match="amended, never overwritten"):
        write_report(gram(), tmp_path / "report.json")
    assert (tmp_path / "report.json").read_bytes() == before


def test_a_file_that_was_changed_after_the_signature_is_refused(tmp_path):
    values = gram().sign("Dr. A", NOON).to_json()
    values["answers"]["comment"] = "thin"
    (tmp_path / "report.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FileError, match=r"report\.json: was changed after Dr\. A signed it"):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda values: values.pop("format"), "no report of format 1"),
        (lambda values: values["findings"][0].update(grade="4+"), "findings are not those of its counts"),
        (lambda values: values.pop("slide"), "slide: "),
        (lambda values: values.update(patient="somebody"), "patient: "),
        (lambda values: values.update(counts=[1]), "counts: "),
        (lambda values: values["form"].update(version="x"), r"form\.version: "),
    ],
)
def test_json_that_is_no_report_is_refused(change, told):
    values = gram().to_json()
    change(values)
    with pytest.raises(FileError, match=told):
        report_from_json(values)


def test_a_report_keeps_the_form_that_was_asked():
    values = gram().to_json()
    values["form"]["title"] = "Gram stain, as it was"
    assert report_from_json(values).form.title == "Gram stain, as it was"


def test_a_scale_that_may_not_be_chosen_is_a_setting():
    with pytest.raises(SettingsError):
        gram(graded_in={"cells": "dry"})
