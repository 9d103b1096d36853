"""The load generator: readers pan, every tile comes, memory is told."""

import pytest

from parfocal.benchmark.serving import measure_serving
from parfocal.errors import SettingsError


@pytest.mark.slow
def test_readers_who_pan_at_once_all_get_their_tiles():
    costs = measure_serving(side_mm=0.9, readers=4, seconds=3, cache_mb=1)
    assert costs.errors == 0
    assert costs.tiles >= 4 * 4
    assert 0 < costs.tile_ms_median <= costs.tile_ms_p95
    assert costs.side_px == 2609
    assert 50 < costs.memory_mib < 2000


def test_a_browser_that_there_is_not_is_told_before_a_slide_is_made_up():
    with pytest.raises(SettingsError, match="no such browser"):
        measure_serving(browser="no-such-browser")


@pytest.mark.parametrize("wrong", [{"side_mm": 0}, {"readers": 0}, {"seconds": 1e4}])
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises(SettingsError, match="are not"):
        measure_serving(**wrong)
