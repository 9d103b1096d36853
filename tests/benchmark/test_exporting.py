"""What an export costs: the generated fields are a scan like any other, and every figure is there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from parfocal.benchmark import exporting
from parfocal.benchmark.exporting import Cost, as_text, measure_export
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.mosaic import Mosaic
from parfocal.slide.pyramid import Pyramid, level_shapes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return exporting._scan(tmp_path_factory.mktemp("fields") / "fields", 3000)


def test_generated_fields_cover_the_area_and_agree_where_they_overlap(made):
    fields, flat, corners = made
    assert isinstance(fields, FieldsFolder)
    assert len(fields.records) == len(corners) == 12
    mosaic = Mosaic(fields, flat, corners)
    assert min(mosaic.shape) >= 3000
    a, b = (Mosaic(fields, flat, corners[:2])._frame(index).astype(int) for index in (0, 1))
    step = int(corners[1, 0] - corners[0, 0])
    assert np.abs(a[:, step:] - b[:, :-step]).mean() < 5  # two draws of noise, and the fields' own JPEG
    assert np.abs(a - b).mean() < 5


def test_the_bench_measures_each_thing_in_a_process_of_its_own(tmp_path, monkeypatch):
    asked = []

    def run(what, side_px, room):
        asked.append((what, side_px))
        time_s = {"needed": 1.0, "level-0": 1.2, "pass": 1.5, "one": 2.0, "four": 2.5}.get(what, 4.0)
        return Cost(time_s, 2 * time_s, 100.0 + side_px / 1000)

    monkeypatch.setattr(exporting, "_alone", run)
    costs = measure_export(tmp_path, quick=True)
    told = costs.to_json()
    assert asked[:3] == [("all", side) for side in exporting.QUICK_SIDES_PX]
    assert told["level0_over_needed"] == 1.2
    assert told["pass_over_needed"] == 1.5
    assert told["four_over_one"] == told["four_over_one_cpu"] == 1.25
    assert "1.50 and 1.50 times as much" in as_text(costs)
    assert told["peak_memory_mib"] == {side: 100.0 + side / 1000 for side in exporting.QUICK_SIDES_PX}
    json.dumps(told, allow_nan=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["needed", "level-0", "pass", "one", "four", "all"])
def test_every_run_leaves_the_fields_and_nothing_else(made, tmp_path, what, monkeypatch):
    monkeypatch.setattr(exporting, "_scan", lambda path, side_px: made)
    cost = exporting._run(what, 3000, tmp_path)
    assert cost.time_s > 0
    assert cost.cpu_s > 0
    assert cost.peak_memory_mib > 10
    assert not list(tmp_path.iterdir())


def test_level_0_alone_is_level_0_of_the_whole_pass(made, tmp_path):
    fields, flat, corners = made
    mosaic = Mosaic(fields, flat, corners)
    shapes = level_shapes(mosaic.shape)
    with exporting._LevelZero(shapes, tmp_path) as alone, Pyramid(shapes, tmp_path) as whole:
        alone.build(mosaic.block)
        whole.build(mosaic.block)
        assert list(alone.tiles(0)) == list(whole.tiles(0))


@pytest.mark.long
def test_memory_hardly_grows_with_the_area(tmp_path):
    costs = measure_export(tmp_path, quick=True)
    assert max(costs.peak_memory_mib.values()) < 1024
    assert costs.cpu_s["pass"] < 3 * costs.cpu_s["needed"]
