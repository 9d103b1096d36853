"""The comparison of Δ under noise and JPEG: that only Δ and the condition differ, and that the figures are right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from parfocal.benchmark import delta
from parfocal.benchmark.delta import CONDITIONS, DELTAS_UM, LENS, Candidate, as_text, measure_delta, open_candidate
from parfocal.config import shipped_network
from parfocal.focus.predictor import FocusPrediction
from parfocal.optics.sensor import Sensor

TILE = (1, 1)
ALL_DELTAS = (2.0, 5.0)
PAIRS = 25


class Recorder:
    """Remembers every pair it is asked about, and answers 0."""

    def __init__(self):
        self.asked = defaultdict(list)

    def predict(self, first, second, delta_um):
        self.asked[delta_um].append((first, second))
        return FocusPrediction(0.0, 0.0, (0.0,), (1.0,), 1.0, 1.0)


class Photometer:
    """Reads z off frames whose brightness grows with it, and adds an error of its own."""

    def __init__(self, error_um=0.0, mirrored=False):
        self.error_um, self.mirrored = error_um, mirrored

    def predict(self, first, second, delta_um):
        z1, z2 = (float(frame.mean()) / 255 * 125 - 62.5 for frame in (first, second))
        assert z2 - z1 == pytest.approx(delta_um, abs=0.2)
        return FocusPrediction((-z2 if self.mirrored else z2) + self.error_um, 0.0, (z2,), (1.0,), 1.0, 1.0)


@pytest.fixture
def grey_slide(monkeypatch):
    """Specimens whose brightness is their defocus, through a sensor that is the same everywhere."""
    drawn = delta.draw_focused

    def draw(settings, rng):
        scene, _ = drawn(settings, rng)
        return replace(scene, sensor=Sensor(white_level=255, vignetting=0, prnu=0)), 7.0

    def render(scene, renderer, exposures):
        slope = np.linspace(-0.1, 0.1, scene.shape[1])[None, :, None]  # so that rounding averages out
        light = [(exposure.z_um - 7.0 + 62.5) / 125 + slope for exposure in exposures]
        return [np.broadcast_to(plane, (*scene.shape, 3)).astype(np.float32) for plane in light]

    monkeypatch.setattr(delta, "draw_focused", draw)
    monkeypatch.setattr(delta, "render", render)


@pytest.mark.slow
def test_an_error_that_is_known_comes_out_for_every_delta_and_condition(grey_slide):
    rows = measure_delta([Candidate("knowing", Photometer(0.5), ALL_DELTAS)], 2, 3, TILE)
    assert [(row.condition, row.delta_um) for row in rows] == [(name, d) for name in CONDITIONS for d in DELTAS_UM]
    for row in rows:
        assert row.everywhere.pairs == 2 * PAIRS
        assert row.everywhere.mean_abs_error_um == pytest.approx(0.5, abs=0.1)
        assert row.everywhere.wrong_direction == 0
        assert row.near.within_half_dof == 1  # half of 1.43 µm
        assert row.near.pairs == 2 * 5


@pytest.mark.slow
def test_a_predictor_that_takes_up_for_down_is_found_out(grey_slide):
    rows = measure_delta([Candidate("mirrored", Photometer(mirrored=True), ALL_DELTAS)], 1, 3, TILE)
    for row in rows:
        assert row.everywhere.wrong_direction == 1
        assert row.everywhere.mean_abs_error_um == pytest.approx(25, abs=1.1)  # twice the mean of |d| over ±25 µm


def test_a_delta_that_a_predictor_does_not_know_is_never_asked_for_and_has_no_figures(grey_slide):
    recorder = Recorder()
    rows = measure_delta(
        [Candidate("two", recorder, (2.0, 2.0)), Candidate("rest", Photometer(), (2.9, 5))], 1, 0, TILE
    )
    assert set(recorder.asked) == {2.0}
    known = {(row.network, row.delta_um): row.to_json() for row in rows if row.condition == "noisy"}
    assert [delta_um for (name, delta_um), row in known.items() if name == "two" and row["known"]] == [2]
    assert [delta_um for (name, delta_um), row in known.items() if name == "rest" and row["known"]] == [3, 4, 5]
    assert known["two", 5]["mean_abs_error_um"] is None
    assert known["two", 5]["within_5_um"]["within_half_dof"] is None
    lines = as_text(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert sum("not known" in line for line in lines) == len(CONDITIONS) * 4


@pytest.mark.slow
def test_nothing_but_delta_and_the_condition_differs():
    recorder = Recorder()
    measure_delta([Candidate("recorder", recorder, ALL_DELTAS)], 1, 1, TILE)
    assert set(recorder.asked) == set(DELTAS_UM)
    for pairs in zip(*recorder.asked.values(), strict=True):
        assert all(np.array_equal(second, pairs[0][1]) for _, second in pairs)
    assert not np.array_equal(recorder.asked[2][0][0], recorder.asked[5][0][0])
    quiet, noisy, *jpeg = (recorder.asked[3][n * PAIRS + 12][1].astype(float) for n in range(len(CONDITIONS)))
    electrons = quiet.mean() / 255 * 5_000
    assert (noisy - quiet).std() == pytest.approx(255 / 5_000 * np.sqrt(electrons + 15**2), rel=0.15)
    losses = [np.abs(image - quiet).mean() for image in jpeg]
    assert 0 < losses[0] < losses[1] < 8


def test_the_noise_is_drawn_alike_under_every_condition_and_anew_for_every_plane():
    scene, _ = delta.draw_focused(delta.SetSettings("same", 1, "fast", TILE, lens="40x0.65"), np.random.default_rng(1))
    light = [np.full((*scene.shape, 3), 0.6, dtype=np.float32)] * 2
    louder = replace(CONDITIONS["noisy"], full_well_e=2_000)
    a, b = (delta._photograph(light, scene, condition, (1, 2)) for condition in (CONDITIONS["noisy"], louder))
    assert np.corrcoef(a[0].ravel(), b[0].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(a[0].ravel(), a[1].ravel())[0, 1]) < 0.3  # vignetting and pattern are shared


def test_the_shipped_network_knows_three_micrometres_at_this_lens():
    candidate = open_candidate("shipped", shipped_network())
    assert [delta_um for delta_um in DELTAS_UM if candidate.knows(delta_um)] == [3]
    assert LENS.pixel_um == pytest.approx(LENS.objective.canonical_pixel_um, rel=0.002)
