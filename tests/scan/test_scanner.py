"""A scan visits each planned field, hands over what it found, and puts the lamp out however it ends."""

import math
from dataclasses import replace

import pytest

from knowing import Knowing
from parfocal.config import open_microscope
from parfocal.errors import FileError, InstrumentError, ScanStoppedError
from parfocal.scan.plan import plan_scan
from parfocal.scan.scanner import scan_fields
from parfocal.slide.fields import FieldsFolder, FieldsHeader, FieldsWriter

AREA_MM = (0.15, 0.1)


@pytest.fixture
def instrument(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1)


def planned(instrument, area_mm=AREA_MM):
    camera = instrument.microscope.camera
    limits_um = instrument.microscope.xy.limits_um
    error_um = instrument.settings.neighbour_error_um
    return plan_scan(area_mm, camera.frame_shape, camera.pixel_size_um, error_um, limits_um)


def header(instrument, plan):
    camera = instrument.microscope.camera
    return FieldsHeader(
        version="0", seed=1, microscope="small", specimen="blood-smear", pixel_size_um=camera.pixel_size_um,
        frame_shape=camera.frame_shape, magnification=20, na=0.75, immersion_index=1.0, depth_of_field_um=1.2,
        rows=plan.rows, columns=plan.columns, overlap=plan.overlap,
    )  # fmt: skip


def run(instrument, folder, predictor=None, on_field=lambda record, progress: None, area_mm=AREA_MM):
    plan = planned(instrument, area_mm)
    with FieldsWriter(folder, header(instrument, plan)) as writer:
        predictor = predictor or Knowing(instrument)
        return scan_fields(
            instrument.microscope, instrument.settings, predictor, plan, writer, on_field, instrument.truth
        )


def test_every_planned_field_is_focused_recorded_and_kept(instrument, tmp_path):
    seen = []
    summary = run(instrument, tmp_path, on_field=lambda record, progress: seen.append(progress))
    fields, plan = FieldsFolder(tmp_path), list(planned(instrument))
    assert [(r.index, r.row, r.column) for r in fields.records] == [(p.index, p.row, p.column) for p in plan]
    assert {record.verdict for record in fields.records} == {"focused"}
    for record in fields.records:
        assert fields.frame(record).shape == (240, 320, 3)
        x_um, y_um, z_um = record.true_stage_um
        assert abs(z_um - instrument.truth.best_focus_um(x_um, y_um)) <= 0.9  # z error ± 0.5 µm, twice
        assert math.dist((record.stage_x_um, record.stage_y_um), (x_um, y_um)) < 60
        assert len(record.focus["trace"]) == record.images
    assert [progress.fields_done for progress in seen] == list(range(1, len(plan) + 1))
    assert seen[-1].images == summary.images
    assert seen[-1].in_doubt == 0


class Unsettled(Knowing):
    """Never certain, so that the sharpest frame is kept, which need not be the last."""

    def predict(self, first, second, delta_um):
        return replace(super().predict(first, second, delta_um), spread_um=9.0)


def test_the_true_place_is_that_of_the_kept_frame_even_where_others_followed(instrument, tmp_path):
    run(instrument, tmp_path, Unsettled(instrument))
    records = FieldsFolder(tmp_path).records
    assert {record.verdict for record in records} == {"unsure"}
    assert any(record.stage_z_um != record.focus["trace"][-1]["z_um"] for record in records)
    for record in records:
        assert abs(record.true_stage_um[2] - record.stage_z_um) <= 0.5  # where its arrival's error is cut off


def test_exposures_are_those_of_the_fields_and_those_of_the_search(instrument, tmp_path):
    exposures = []
    snap = instrument.microscope.camera.snap
    instrument.microscope.camera.snap = lambda: (exposures.append(instrument.microscope.clock.now_s), snap())[1]
    summary = run(instrument, tmp_path)
    assert summary.images == len(exposures)
    in_fields = sum(record.images for record in FieldsFolder(tmp_path).records)
    assert summary.images > in_fields + summary.sweep.images


def test_time_is_that_of_the_modelled_instrument(instrument, tmp_path):
    summary = run(instrument, tmp_path)
    now_s = instrument.microscope.clock.now_s
    assert summary.modelled_time_s == pytest.approx(now_s)
    fields = FieldsFolder(tmp_path).records
    assert now_s >= summary.images * 0.033 + len(fields) * 0.060 + len(fields) * 0.015


def test_a_scan_repeats_itself_exactly(small_toml, tmp_path):
    results = []
    for name in ("first", "second"):
        instrument = open_microscope(small_toml(), "blood-smear", seed=5)
        run(instrument, tmp_path / name)
        results.append(FieldsFolder(tmp_path / name))
    assert results[0].records == results[1].records
    for record in results[0].records:
        assert (results[0].frame(record) == results[1].frame(record)).all()


def interrupt(record, progress):
    if progress.fields_done == 2:
        raise KeyboardInterrupt


def break_down(record, progress):
    if progress.fields_done == 2:
        raise InstrumentError("the camera gave no frame within 2 s")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (interrupt, "interrupted after 2 of 4 fields"),
        (break_down, "stopped after 2 of 4 fields: the camera gave no frame within 2 s"),
    ],
)
def test_a_scan_that_ends_early_leaves_the_fields_so_far_and_the_lamp_off(instrument, tmp_path, end, message):
    with pytest.raises(ScanStoppedError, match=message):
        run(instrument, tmp_path, on_field=end)
    assert not instrument.microscope.lamp.is_on
    fields = FieldsFolder(tmp_path)
    assert [record.index for record in fields.records] == [0, 1]
    assert all(fields.frame(record).any() for record in fields.records)


def fail_to_write(record, progress):
    raise FileError("disk full: 0 of 4 MiB free")


def fail_unforeseen(record, progress):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("on_field", "error"),
    [(None, None), (fail_to_write, FileError), (fail_unforeseen, ZeroDivisionError)],
)
def test_the_lamp_is_lit_in_the_scan_and_off_after_it(instrument, tmp_path, on_field, error):
    lit = []

    def watch(record, progress):
        lit.append(instrument.microscope.lamp.is_on)
        if on_field:
            on_field(record, progress)

    if error is None:
        run(instrument, tmp_path, on_field=watch)
    else:
        with pytest.raises(error):
            run(instrument, tmp_path, on_field=watch)
    assert set(lit) == {True}
    assert not instrument.microscope.lamp.is_on


class Blind(Knowing):
    """Sees something in the first look at a field, and nothing once pairs are taken."""

    def measure(self, first, second):
        contrast = super().measure(first, second)
        return contrast if first is second else type(contrast)(0.5, contrast.difference_sd)


def test_an_empty_field_takes_the_pivots_z_and_is_marked(instrument, tmp_path):
    run(instrument, tmp_path, Blind(instrument))
    records = FieldsFolder(tmp_path).records
    assert {record.verdict for record in records} == {"empty"}
    assert len({record.stage_z_um for record in records}) == 1
    assert all(record.images <= 3 for record in records)
    assert all(record.focus["focus_um"] is None for record in records)
