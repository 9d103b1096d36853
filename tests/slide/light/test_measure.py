"""Neighbours agree on how bright a place is: no step shows at a seam, and nothing is corrected that is only noise."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.light.flatfield import estimate_flatfield
from parfocal.slide.light.measure import Light, measure_light, write_light
from parfocal.slide.light.white import NO_WHITE, look_for_background, measure_white
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.registration.register import register

GLASS = 225  # grey level of the specimen's background


def relit(scan, gains):
    """The scan's frames, each times its gain (N,) or (N, 3), written in their place."""
    for record, gain in zip(scan.folder.records, gains, strict=True):
        path = scan.folder.path / record.file
        frame = np.clip(np.round(cv2.imread(str(path)) * np.atleast_1d(gain)[::-1]), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, 98])
    return FieldsFolder(scan.folder.path)


def lit(folder):
    flat = estimate_flatfield(folder)
    registration = register(folder, flat)
    return flat, registration, measure_light(folder, flat, registration)


def true_steps(scan, registration, flat):
    """Grey levels of glass by which neighbours truly differ in each overlap, corrected by `flat`."""
    evenness = GLASS * scan.shading[..., None] / flat
    height, width = scan.shading.shape
    steps = []
    for seam in registration.seams:
        dx, dy = np.round(scan.texture_xy_px[seam.b] - scan.texture_xy_px[seam.a]).astype(int)
        a = evenness[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
        b = evenness[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
        steps.append((b - a).mean(axis=(0, 1)))
    return np.array(steps)


@pytest.fixture(scope="module")
def scan(synthetic_scan):
    return synthetic_scan(5, 6, vignetting=0.2, seed=3)


@pytest.fixture(scope="module")
def light(scan):
    return lit(scan.folder)


def test_vignetting_of_20_percent_leaves_no_step_of_a_grey_level(scan, light):
    _, registration, made = light
    none = true_steps(scan, registration, np.ones_like(made.flat))
    assert np.abs(none).max() > 5  # of a grey level, were nothing corrected
    assert np.abs(true_steps(scan, registration, made.flat)).max() <= 1.0


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 4])
def test_with_a_cameras_frames_the_step_is_far_below(synthetic_scan, seed):
    scan = synthetic_scan(4, 4, frame_shape=(1024, 1224), overlap=0.1, vignetting=0.2, seed=seed)
    _, registration, made = lit(scan.folder)
    assert np.abs(true_steps(scan, registration, np.ones_like(made.flat))).max() > 7
    assert np.abs(true_steps(scan, registration, made.flat)).max() <= 0.3


def test_overlaps_make_the_flat_field_truer(scan, light):
    flat, _, made = light

    def wrong(estimate):
        return float(np.sqrt(((estimate / scan.shading[..., None] - 1) ** 2).mean()))

    assert made.flat.mean(axis=(0, 1)) == pytest.approx(1, abs=1e-4)
    assert wrong(made.flat) < 0.7 * wrong(flat)


def test_the_steps_that_are_left_are_told_for_each_seam(scan, light):
    _, registration, made = light
    assert made.steps.shape == (len(registration.seams), 3)
    measured = ~np.isnan(made.steps).any(axis=1)
    assert np.array_equal(measured, [seam.accepted for seam in registration.seams])
    assert np.sqrt((made.steps[measured] ** 2).mean()) <= 0.5


def test_equal_exposures_are_left_alone(light):
    drift = light[2].drift
    assert not drift.corrected
    assert drift.chance > 1e-3
    assert (light[2].gains == 1).all()


def test_exposures_that_differ_are_found_and_evened_out(synthetic_scan):
    scan = synthetic_scan(4, 4, vignetting=0.2, seed=8)
    exposures = np.random.default_rng(1).normal(1, 0.01, 16)
    _, _, made = lit(relit(scan, exposures))
    assert made.drift.corrected
    assert made.drift.chance < 1e-4
    evened = made.gains * exposures[:, None]
    assert np.abs(evened / evened.mean() - 1).max() < 0.01
    assert made.drift.sd == pytest.approx(exposures.std(), rel=0.3)
    assert np.sqrt(np.nanmean(made.steps**2)) <= 0.5


def test_empty_fields_tell_the_illumination_when_the_others_do_not(synthetic_scan):
    scan = synthetic_scan(4, 4, vignetting=0.3, empty=(2, 7, 13), seed=3)
    flat = estimate_flatfield(scan.folder)
    assert np.abs(flat / scan.shading[..., None] - 1).max() < 0.005


def test_dust_on_one_empty_field_does_not_matter(synthetic_scan):
    scan = synthetic_scan(1, 3, vignetting=0.2, empty=(0, 1, 2), seed=3)
    path = scan.folder.path / scan.folder.records[1].file
    frame = cv2.imread(str(path))
    cv2.circle(frame, (90, 80), 40, (60, 60, 60), -1)
    cv2.imwrite(str(path), frame)
    flat = estimate_flatfield(scan.folder)
    assert np.abs(flat / scan.shading[..., None] - 1).max() < 0.01


TINT = np.array([1.0, 0.9, 0.8])


def test_the_background_is_neutral_after_the_white_balance(synthetic_scan):
    scan = synthetic_scan(3, 3, vignetting=0.2, empty=(4,), seed=6)
    folder = relit(scan, np.tile(TINT, (9, 1)))
    _, registration, made = lit(folder)
    assert made.white.source == "empty fields"
    assert made.white.levels == pytest.approx(GLASS * TINT, rel=0.02)
    assert made.white.gains == pytest.approx(1 / TINT, rel=0.01)
    corrected = made.correct(folder.frame(folder.records[4]), 4)
    assert np.ptp(np.median(corrected, axis=(0, 1))) <= 1
    mosaic = Mosaic(folder, made, registration.mosaic_xy_px)
    height, width = mosaic.shape
    middle = mosaic.block(width // 2 - 20, height // 2 - 20, 40, 40)
    assert np.ptp(np.median(middle, axis=(0, 1))) <= 1


def test_without_empty_fields_the_brightest_even_places_are_the_background(synthetic_scan):
    texture = np.full((900, 1100, 3), GLASS, np.uint8)
    rng = np.random.default_rng(2)
    for x, y in rng.uniform(0, (1100, 900), (260, 2)):
        cv2.circle(texture, (int(x), int(y)), 9, (150, 80, 140), -1, cv2.LINE_AA)
    scan = synthetic_scan(3, 3, vignetting=0.0, texture=texture, seed=6)
    folder = relit(scan, np.tile(TINT, (9, 1)))
    white = measure_white(look_for_background(folder, np.ones((256, 320, 3), np.float32)))
    assert white.source == "brightest places"
    assert white.gains == pytest.approx(1 / TINT, rel=0.01)


def test_light_that_fades_through_a_scan_is_told_also_where_it_is_corrected(synthetic_scan):
    scan = synthetic_scan(3, 3, vignetting=0.2, empty=(0, 2, 3, 5, 8), seed=6)
    folder = relit(scan, np.linspace(1.0, 0.8, 9))
    timed = folder.with_attempts([replace(one, taken_s=2.0 * one.index) for one in folder.records])
    fading = lit(timed)[2].fading
    assert fading.change == pytest.approx(-0.2, abs=0.02)
    assert (fading.fields, fading.source) == (5, "empty fields")


def test_where_no_background_is_in_sight_nothing_is_balanced(scan):
    assert measure_white(look_for_background(scan.folder, np.ones((256, 320, 3), np.float32))) == NO_WHITE


def test_a_saturated_background_does_not_tell_its_colour(synthetic_scan):
    scan = synthetic_scan(1, 3, vignetting=0.0, empty=(0, 1, 2), seed=6)
    folder = relit(scan, np.full(3, 1.3))
    assert measure_white(look_for_background(folder, np.ones((256, 320, 3), np.float32))) == NO_WHITE


def test_what_was_corrected_is_recorded(light, tmp_path):
    write_light(tmp_path, light[2])
    told = json.loads((tmp_path / "light.json").read_text())
    assert told["white"] == {"levels": None, "gains": [1.0, 1.0, 1.0], "source": "none"}
    assert (told["drift"]["corrected"], told["field_gains"]) == (False, None)
    assert max(told["step_rms_grey"]) < 0.5


def test_a_flat_field_alone_divides(scan):
    frame = scan.folder.frame(scan.folder.records[0])
    flat = np.full((256, 320, 3), 1.25, np.float32)
    evened = Light.of(flat).correct(frame, 0)
    assert evened.dtype == np.uint8
    assert np.abs(evened - frame / 1.25).max() <= 0.51


def test_a_scan_without_overlaps_keeps_its_first_estimate(synthetic_scan):
    scan = synthetic_scan(1, 1)
    _, registration, made = lit(scan.folder)
    assert made.steps.shape == (len(registration.seams), 3)
    assert np.allclose(made.flat, 1)
    assert not made.drift.corrected
