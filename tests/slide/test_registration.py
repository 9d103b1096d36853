"""Positions of all fields: true to a fraction of a pixel where there is texture, the stage's where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from parfocal.errors import SettingsError
from parfocal.slide.flatfield import estimate_flatfield
from parfocal.slide.registration import (
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
