"""The flat field follows the illumination, not the specimen."""

from __future__ import annotations

import numpy as np
import pytest

from parfocal.slide.light.flatfield import apply, estimate_flatfield


def rms(ratio):
    return float(np.sqrt(((ratio - 1) ** 2).mean()))


def test_vignetting_is_found_from_stained_fields(synthetic_scan):
    scan = synthetic_scan(5, 6, vignetting=0.3, seed=3)
    flat = estimate_flatfield(scan.folder)
    assert flat.shape == (256, 320, 3)
    assert flat.dtype == np.float32
    assert flat.mean(axis=(0, 1)) == pytest.approx(1, abs=1e-4)
    unlit = rms(1 / scan.shading)
    assert unlit > 0.06
    assert rms(flat / scan.shading[..., None]) < 0.25 * unlit


def test_on_glass_it_is_exact_to_half_a_grey_level(synthetic_scan):
    scan = synthetic_scan(3, 3, empty=tuple(range(9)), seed=3)
    assert rms(estimate_flatfield(scan.folder) / scan.shading[..., None]) < 0.002


def test_dividing_evens_out_a_lit_field(synthetic_scan):
    scan = synthetic_scan(3, 3, empty=(4,), noise=0.0, seed=3)
    flat = scan.shading[..., None].repeat(3, axis=2).astype(np.float32)
    lit = apply(scan.folder.frame(scan.folder.records[4]), flat)
    assert np.abs(lit.astype(int) - 225).max() <= 2


def test_too_few_fields_correct_nothing(synthetic_scan):
    scan = synthetic_scan(2, 4)
    assert np.array_equal(estimate_flatfield(scan.folder), np.ones((256, 320, 3), np.float32))


def test_no_more_fields_are_read_than_asked_for(synthetic_scan):
    scan = synthetic_scan(4, 4)
    for kept in scan.folder.records[1:-1:2]:
        (scan.folder.path / kept.file).unlink()
    del scan.folder.records[1:-1:2]
    estimate_flatfield(scan.folder, max_fields=9)
