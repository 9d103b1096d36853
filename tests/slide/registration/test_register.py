"""Positions of all fields: true to a fraction of a pixel where there is texture, the stage's where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parfocal.errors import SettingsError
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.light.flatfield import estimate_flatfield
from parfocal.slide.registration.register import (
    RegistrationSettings,
    Seam,
    overlapping_pairs,
    position_errors,
    register,
    solve_positions,
)

PIXEL_UM = 0.345


def registered(scan, **settings):
    return register(scan.folder, estimate_flatfield(scan.folder), RegistrationSettings(**settings))


def grid(rows, columns, step=(200.0, 150.0)):
    return np.array([(c * step[0], r * step[1]) for r in range(rows) for c in range(columns)])


def true_seams(xy, frame_shape=(190, 250)):
    return [Seam(a, b, *(xy[b] - xy[a]), quality=0.9, accepted=True) for a, b in overlapping_pairs(xy, frame_shape, 16)]


@pytest.mark.parametrize("seed", [1, 2])
def test_textured_fields_are_placed_to_a_tenth_of_a_pixel(synthetic_scan, seed):
    scan = synthetic_scan(4, 4, overlap=0.3, seed=seed)
    found = registered(scan)
    assert all(seam.accepted for seam in found.seams)
    assert found.largest.all()
    rms, largest = position_errors(found, scan.true_xy_um, PIXEL_UM)
    assert rms < 0.1
    assert largest < 0.2


def test_large_stage_errors_are_found(synthetic_scan):
    scan = synthetic_scan(2, 3, frame_shape=(512, 612), overlap=0.4, stage_error_um=15.0, seed=3)
    stage = np.array([(r.stage_x_um, r.stage_y_um) for r in scan.folder.records])
    assert np.abs(scan.true_xy_um - stage).max() > 20
    rms, _ = position_errors(registered(scan), scan.true_xy_um, PIXEL_UM)
    assert rms < 0.1


def test_an_empty_and_a_missing_field_disturb_nobody(synthetic_scan):
    scan = synthetic_scan(4, 4, empty=(5,), missing=(10,), seed=4)
    found = registered(scan)
    empty = next(i for i, r in enumerate(scan.folder.records) if r.index == 5)
    assert not any(seam.accepted for seam in found.seams if empty in (seam.a, seam.b))
    assert found.largest.sum() == len(scan.folder.records) - 1
    assert not found.largest[empty]
    rms, _ = position_errors(found, scan.true_xy_um, PIXEL_UM, found.largest)
    assert rms < 0.1


def test_glass_alone_stays_where_the_stage_said(synthetic_scan):
    scan = synthetic_scan(3, 3, empty=tuple(range(9)))
    found = registered(scan)
    stage = np.array([(r.stage_x_um, r.stage_y_um) for r in scan.folder.records]) / PIXEL_UM
    assert not any(seam.accepted for seam in found.seams)
    assert found.mosaic_xy_px == pytest.approx(stage - stage.min(axis=0), abs=0.01)


def test_seams_alone_fix_the_positions_and_the_stage_only_the_whole():
    true = grid(3, 4)
    stage = true + np.random.default_rng(0).normal(0, 20, true.shape)
    found = solve_positions(stage, true_seams(true), PIXEL_UM)
    assert position_errors(found, true * PIXEL_UM, PIXEL_UM)[1] < 0.02
    assert found.mosaic_xy_px.min(axis=0) == pytest.approx((0, 0))


def test_a_seam_that_contradicts_the_others_is_set_aside():
    true = grid(3, 4)
    seams = true_seams(true)
    wrong = Seam(seams[5].a, seams[5].b, seams[5].dx + 40, seams[5].dy - 25, 0.8, accepted=True)
    found = solve_positions(true, [*seams[:5], wrong, *seams[6:]], PIXEL_UM)
    assert [seam.accepted for seam in found.seams].count(False) == 1
    assert not found.seams[5].accepted
    assert position_errors(found, true * PIXEL_UM, PIXEL_UM)[1] < 0.02


def test_a_field_that_no_picture_ties_follows_its_neighbours():
    true = grid(3, 3)
    stage = true + np.array([30.0, -20.0])  # the whole stage is off, which no picture can tell
    stage[8] = true[8]
    seams = [seam for seam in true_seams(true) if 8 not in (seam.a, seam.b)]
    loose = [Seam(a, 8, *(stage[8] - stage[a]), quality=0.1, accepted=False) for a in (5, 7)]
    found = solve_positions(stage, seams + loose, PIXEL_UM)
    assert not found.largest[8]
    relative = found.mosaic_xy_px[8] - found.mosaic_xy_px[4]
    assert np.abs(relative - (stage[8] - stage[4])).max() < 3


def test_two_pieces_keep_the_distance_that_the_stage_measured():
    true = grid(2, 4)
    seams = [seam for seam in true_seams(true) if {seam.a % 4, seam.b % 4} != {1, 2}]
    found = solve_positions(true, seams, PIXEL_UM)
    assert found.largest.sum() == 4
    assert found.mosaic_xy_px == pytest.approx(true, abs=0.01)


def test_neighbours_are_those_side_by_side():
    pairs = overlapping_pairs(grid(2, 3), (190, 250), 16)
    assert set(pairs) == {(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)}


def test_one_field_is_a_registration():
    found = solve_positions(np.array([[500.0, 300.0]]), [], PIXEL_UM)
    assert found.mosaic_xy_px.tolist() == [[0.0, 0.0]]
    assert found.largest.tolist() == [True]


def told(scan, settings=None, matrix=None):
    """The same scan by a stage that says something else: its header's settings, or its positions times a matrix."""
    folder = FieldsFolder(scan.folder.path)
    folder.header = replace(folder.header, settings=settings or {})
    if matrix is not None:
        stage = np.array([(r.stage_x_um, r.stage_y_um) for r in folder.records]) @ np.linalg.inv(matrix).T
        folder.records = [
            replace(r, stage_x_um=float(x), stage_y_um=float(y))
            for r, (x, y) in zip(folder.records, stage, strict=True)
        ]
    return folder


def test_an_error_beyond_the_stages_own_is_looked_for_over_its_backlash(synthetic_scan):
    scan = synthetic_scan(2, 3, frame_shape=(512, 612), overlap=0.4, stage_error_um=15.0, seed=3)
    folder = told(scan, {"neighbour_error_um": 1.0, "xy_backlash_um": [60.0, 60.0]})
    found = register(folder, estimate_flatfield(folder))
    assert all(seam.accepted for seam in found.seams)
    assert position_errors(found, scan.true_xy_um, PIXEL_UM)[0] < 0.1


@pytest.mark.parametrize(
    "matrix", [np.array([[1.03, 0.0], [0.0, 1.03]]), np.array([[0.9994, -0.0349], [0.0349, 0.9994]])]
)
def test_islands_lie_by_the_stage_as_the_seams_correct_it(synthetic_scan, matrix):
    """A wrong pixel size, or a camera turned by 2°: two halves of a scan, and nothing between them."""
    scan = synthetic_scan(3, 6, stage_error_um=0.3, empty=(2, 3, 8, 9, 14, 15), seed=12)
    folder = told(scan, matrix=matrix)
    found = register(folder, estimate_flatfield(folder))
    assert np.array(found.stage_matrix) == pytest.approx(matrix, abs=0.005)
    assert np.bincount(found.islands)[:2].tolist() == [6, 6]
    errors = found.mosaic_xy_px - scan.true_xy_um / PIXEL_UM
    apart = [errors[found.islands == island].mean(axis=0) for island in (0, 1)]
    assert np.hypot(*(apart[0] - apart[1])) < 12  # the stage alone would be 25 px and more off


def test_a_stage_that_is_right_is_left_alone(synthetic_scan):
    assert registered(synthetic_scan(4, 4, seed=1)).stage_matrix == ((1.0, 0.0), (0.0, 1.0))


def test_a_field_from_elsewhere_is_tied_to_nothing(synthetic_scan):
    scan, other = synthetic_scan(3, 3, seed=13), synthetic_scan(3, 3, seed=14)

    class Mixed(FieldsFolder):
        def frame(self, record):
            return (other.folder if record.index == 4 else scan.folder).frame(record)

    folder = Mixed(scan.folder.path)
    found = register(folder, estimate_flatfield(folder))
    centre = next(i for i, record in enumerate(folder.records) if record.index == 4)
    assert [seam.accepted for seam in found.seams if centre in (seam.a, seam.b)] == [False] * 4
    assert {seam.reason for seam in found.seams if not seam.accepted} == {"chance"}
    assert found.largest.sum() == 8


def test_errors_are_taken_after_one_translation():
    found = solve_positions(grid(2, 2), true_seams(grid(2, 2)), PIXEL_UM)
    true = grid(2, 2) + np.array([1000.0, -500.0])
    assert position_errors(found, true * PIXEL_UM, PIXEL_UM) == pytest.approx((0, 0), abs=1e-6)
    true[0, 0] += 4  # 3 px from the common mean, the others 1
    assert position_errors(found, true * PIXEL_UM, PIXEL_UM) == pytest.approx((3**0.5, 3), abs=1e-6)


@pytest.mark.parametrize(
    "settings", [{"search_um": 0}, {"min_quality": 1.5}, {"min_overlap_px": 2}, {"neighbour_sigma_um": -1}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        RegistrationSettings(**settings)
