"""How the background's brightness changes from a scan's first field to its last, against what was made to fade."""

from dataclasses import replace

import numpy as np
import pytest

from parfocal.slide.fields.records import FieldRecord
from parfocal.slide.light.fading import UNKNOWN_FADING, measure_fading
from parfocal.slide.light.white import Background

FIELDS = 12


def records_of(fields=FIELDS, every_s=2.0):
    times_s = [3.0 + every_s * index for index in range(fields)]
    return [FieldRecord(i, 0, i, 0.0, 0.0, 0.0, "empty", 1, taken_s=time_s) for i, time_s in enumerate(times_s)]


def background(records, change, *, level=220.0, noise=0.2, source="empty fields", places=1, seed=0):
    """What fields show whose light changes evenly by a fraction."""
    rng = np.random.default_rng(seed)
    light = np.linspace(1.0, 1.0 + change, len(records))
    shown = [level * one + rng.normal(0.0, noise, (places, 3)) for one in light]
    return Background(records, shown, source)


@pytest.mark.parametrize("change", [-0.3, -0.05, 0.0, 0.08])
@pytest.mark.parametrize(("source", "places"), [("empty fields", 1), ("brightest places", 200)])
def test_an_even_change_is_found(change, source, places):
    records = records_of()
    fading = measure_fading(records, background(records, change, source=source, places=places))
    assert fading.change == pytest.approx(change, abs=0.015)  # a line through the logarithm of a line
    assert 0 < fading.sd < 0.01
    assert (fading.fields, fading.source) == (FIELDS, source)


def test_dust_on_one_field_and_specimen_in_the_places_do_not_matter():
    records = records_of()
    seen = background(records, -0.1, source="brightest places", places=200)
    stained = [np.concatenate([places, np.full((300, 3), (150.0, 90.0, 140.0))]) for places in seen.places]
    stained[4] = stained[4] * 0.5
    assert measure_fading(records, replace(seen, places=stained)).change == pytest.approx(-0.1, abs=0.01)


@pytest.mark.parametrize(
    ("records", "shown", "told"),
    [
        (records_of(4), {}, 4),  # too few
        (records_of(every_s=0.0), {}, FIELDS),  # all at once
        ([replace(record, taken_s=None) for record in records_of()], {}, 0),
        (records_of(), {"level": 400.0}, 0),  # saturated
        (records_of(), {"source": "brightest places", "places": 19}, 0),
    ],
)
def test_where_the_fields_do_not_tell_nothing_is_said(records, shown, told):
    fading = measure_fading(records, background(records, -0.2, **({"noise": 0.0} | shown)))
    assert (fading.change, fading.sd, fading.fields) == (None, None, told)


def test_fields_of_a_small_part_of_the_scan_say_nothing_about_all_of_it():
    records = records_of(30)
    assert measure_fading(records, background(records[:12], -0.2)).change is None
    assert measure_fading(records, background(records[::3], -0.2)).change == pytest.approx(-0.2, abs=0.02)


def test_without_background_nothing_is_known():
    assert measure_fading(records_of(), Background([], [], "none")) == UNKNOWN_FADING
