"""The figures of a report, against calculation by hand."""

import json
from types import SimpleNamespace

import pytest

from parfocal.errors import FileError
from parfocal.focus.surface import FocusDrift
from parfocal.scan.drift import drift_figures
from parfocal.scan.plan import ScanPlan
from parfocal.scan.report import (
    FieldTruth,
    TruthLedger,
    amend_report,
    focus_figures,
    images_per_field,
    peak_memory_mib,
    write_report,
)
from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.light.fading import UNKNOWN_FADING

DOF_UM = 1.2


def record(index, verdict="focused", images=3, true_stage_um=(0.0, 0.0, 0.0), attempt=1):
    return FieldRecord(index, 0, index, 0.0, 0.0, 0.0, verdict, images, true_stage_um=true_stage_um, attempt=attempt)


def test_figures_of_five_fields_by_hand():
    records = [record(0), record(1), record(2), record(3, "unsure"), record(4)]
    truths = [
        FieldTruth(0, 0.1, is_tissue=True),
        FieldTruth(1, -0.6, is_tissue=True),  # half the depth of field: still in focus
        FieldTruth(2, 0.7, is_tissue=True),  # beyond it
        FieldTruth(3, 0.0, is_tissue=True),  # sharp, but the scan did not say so
        FieldTruth(4, 5.0, is_tissue=False),  # no tissue: does not count
    ]
    figures = focus_figures(records, truths, DOF_UM)
    assert figures.tissue_fields == 4
    assert figures.in_focus_fraction == 2 / 4
    assert figures.mean_abs_error_um == pytest.approx((0.1 + 0.6 + 0.7 + 0.0) / 4)
    assert figures.p95_abs_error_um == pytest.approx(0.6 + 0.85 * (0.7 - 0.6))
    assert figures.depth_of_field_um == DOF_UM


@pytest.mark.parametrize("verdict", ["empty", "unsure", "failed"])
def test_a_tissue_field_that_the_scan_did_not_focus_counts_as_out_of_focus(verdict):
    figures = focus_figures([record(0, verdict)], [FieldTruth(0, 0.0, is_tissue=True)], DOF_UM)
    assert figures.in_focus_fraction == 0.0


def test_without_the_truth_nothing_is_claimed():
    figures = focus_figures([record(0)], [], DOF_UM)
    assert figures.tissue_fields is None
    assert figures.in_focus_fraction is None
    assert figures.mean_abs_error_um is None


def test_a_slide_without_tissue_has_no_fraction():
    figures = focus_figures([record(0, "empty")], [FieldTruth(0, 3.0, is_tissue=False)], DOF_UM)
    assert figures.tissue_fields == 0
    assert figures.in_focus_fraction is None


def test_images_per_field_is_a_mean_over_tissue_fields():
    records = [record(0, images=2), record(1, images=5), record(2, "empty", images=3)]
    truths = [FieldTruth(0, 0.0, True), FieldTruth(1, 0.0, True), FieldTruth(2, 0.0, False)]
    assert images_per_field(records, truths) == 3.5


def test_images_per_field_without_the_truth_leaves_out_what_was_called_empty():
    records = [record(0, images=2), record(1, "unsure", images=8), record(2, "empty", images=3)]
    assert images_per_field(records, []) == 5.0
    assert images_per_field([record(0, "empty")], []) is None


def test_images_of_every_attempt_count_for_the_field():
    attempts = [record(0, images=1), record(1, images=1), record(1, images=4, attempt=2)]
    truths = [FieldTruth(0, 0.0, True), FieldTruth(1, 0.0, True)]
    assert images_per_field(attempts, truths) == pytest.approx(6 / 2)
    assert images_per_field(attempts, []) == pytest.approx(6 / 2)


def test_a_field_that_is_taken_again_twice_counts_once():
    attempts = [record(0), record(1), record(2), record(1, attempt=2), record(1, attempt=3), record(2, attempt=2)]
    fields = SimpleNamespace(
        attempts=attempts, records=[attempts[0], *attempts[4:]], header=SimpleNamespace(depth_of_field_um=DOF_UM)
    )
    run = SimpleNamespace(rescanned=(1, 2), in_doubt=(), judgements={}, new_images=6)
    stitched = SimpleNamespace(seams=2, accepted=2, rms_error_px=None, max_error_px=None, fading=UNKNOWN_FADING)
    drift = drift_figures(UNKNOWN_FADING, FocusDrift(0.6, 0.1))
    report = {
        "rescanned": 1, "images_total": 15, "modelled_time_s": 9.0, "wall_time_s": 1.0, "out_of_focus": {},
        "drift": drift,
    }  # fmt: skip
    amended = amend_report(report, fields, run, stitched, [], 3.0, 1.0)
    assert (amended["rescanned"], amended["attempts"], amended["images_total"]) == (2, 6, 21)
    assert amended["drift"] == drift  # of the focus while the slide was scanned


class Slope:
    """Focus rises with x; everything right of x = 0 is tissue."""

    stage_position_um = (0.0, 0.0, 0.0)

    def best_focus_um(self, x_um, y_um):
        return x_um / 100

    def is_tissue(self, x_um, y_um):
        return x_um > 0


def test_the_ledger_compares_true_z_with_best_focus_at_the_true_place():
    ledger = TruthLedger(Slope())
    ledger.add(record(0, true_stage_um=(300.0, 0.0, 3.25)))
    ledger.add(record(1, true_stage_um=(-100.0, 0.0, -2.0)))
    ledger.add(record(2, true_stage_um=None))
    assert ledger.fields == [FieldTruth(0, pytest.approx(0.25), True), FieldTruth(1, pytest.approx(-1.0), False)]


def test_of_a_field_taken_again_the_ledger_keeps_the_last_attempt():
    ledger = TruthLedger(Slope())
    ledger.add(record(0, true_stage_um=(300.0, 0.0, 9.0)))
    ledger.add(record(1, true_stage_um=(100.0, 0.0, 1.0)))
    ledger.add(record(0, true_stage_um=(300.0, 0.0, 3.1), attempt=2))
    assert {truth.index: truth.error_um for truth in ledger.fields} == {
        0: pytest.approx(0.1), 1: pytest.approx(0.0)
    }  # fmt: skip


def test_coverage_is_the_share_of_the_tissue_fields_that_were_visited():
    plan = ScanPlan((50.0, 0.0), 1, 4, (100.0, 100.0), 0.1)  # x −100, 0, 100, 200: two of tissue
    ledger = TruthLedger(Slope())
    assert ledger.tissue_coverage(plan) == 0.0
    ledger.add(record(0, true_stage_um=(-100.0, 0.0, 0.0)))
    ledger.add(record(3, true_stage_um=(200.0, 0.0, 0.0)))
    assert ledger.tissue_coverage(plan) == 0.5
    ledger.add(record(2, true_stage_um=(100.0, 0.0, 0.0)))
    assert ledger.tissue_coverage(plan) == 1.0


def test_where_there_is_no_tissue_nothing_can_be_covered():
    assert TruthLedger(Slope()).tissue_coverage(ScanPlan((-500.0, 0.0), 1, 3, (100.0, 100.0), 0.1)) is None


def test_a_report_that_cannot_be_written_says_where(tmp_path):
    with pytest.raises(FileError, match="gone"):
        write_report(tmp_path / "gone", {"fields": 1})


def test_a_report_is_json_that_reads_back(tmp_path):
    path = write_report(tmp_path, {"fields": 1, "specimen": "µ"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"fields": 1, "specimen": "µ"}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_peak_memory_is_that_of_this_process():
    assert 20 < peak_memory_mib() < 20_000
