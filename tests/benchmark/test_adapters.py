"""An instrument through an adapter is as sharp as directly; what the adapter costs is told apart from the devices."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from parfocal.benchmark.adapters import ADAPTERS, Stopwatch, as_text, measure_adapters, timed
from parfocal.config import open_microscope
from parfocal.devices.base import RecordedZ
from parfocal.emulators.serving import serve
from parfocal.errors import SettingsError
from parfocal.scan.plan import plan_scan


@pytest.fixture
def instrument(small_toml):
    return open_microscope(small_toml(), "blood-smear", seed=1)


def measure(instrument, small_toml, **more):
    camera = instrument.microscope.camera
    plan = plan_scan((0.15, 0.1), camera.frame_shape, camera.pixel_size_um, 4.0, instrument.microscope.xy.limits_um)
    path = small_toml()

    def opened():
        anew = open_microscope(path, "blood-smear", seed=1)
        return anew.microscope, anew.truth

    return measure_adapters(opened, instrument.settings, instrument.predictor(), plan, **more)


MARKS = {"grbl": pytest.mark.slow, "openflexure": pytest.mark.slow}  # docs/microscopes.md runs Micro-Manager
NAMES = [pytest.param(name, marks=MARKS.get(name, pytest.mark.long)) for name in ADAPTERS]


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_keeps_the_focus_of_the_direct_path(name, instrument, small_toml, network):
    if name == "micromanager":
        pytest.importorskip("pymmcore_plus")
    direct, through = measure(instrument, small_toml, names=[name])
    assert (direct.adapter, through.adapter) == ("direct", name)
    assert direct.in_focus_fraction == through.in_focus_fraction == 1.0
    assert through.fields == direct.fields == 4
    assert 0 <= through.overhead_ms_per_field < through.waited_ms_per_field < 1000 * through.wall_s
    assert 0 < through.instrument_ms_per_field < through.waited_ms_per_field
    assert through.emulator_ms_per_field > (1.0 if name == "openflexure" else 0.0)  # its camera encodes JPEG
    assert name in as_text([direct, through])


def test_an_unknown_adapter_is_refused(instrument, small_toml):
    with pytest.raises(SettingsError, match="unknown adapter 'fax': choose one of micromanager"):
        measure(instrument, small_toml, names=["fax"])


class _Slow:
    position_um = 3.0

    def move_to(self, z_um):
        time.sleep(0.02)


def test_what_goes_on_at_the_same_time_counts_once():
    watch = Stopwatch()
    began_s = time.perf_counter()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(_run_for, watch, 0.02)
    assert 0.02 <= watch.spent_s <= time.perf_counter() - began_s


def _run_for(watch, duration_s):
    with watch.running():
        time.sleep(duration_s)


def test_what_an_emulated_device_does_itself_is_told_apart(instrument):
    watch = Stopwatch()
    instrument.microscope.lamp.on()
    with serve("openflexure", instrument.microscope, at_work=watch.running) as served:
        before_s = watch.spent_s
        urllib.request.urlopen(served.addresses["url"] + "/api/v3/stage/position").read()
        assert watch.spent_s == before_s
        urllib.request.urlopen(
            urllib.request.Request(served.addresses["url"] + "/api/v3/camera/grab_jpeg", data=b"{}", method="POST")
        ).read()
        assert watch.spent_s > before_s


def test_a_timed_device_is_the_device_and_its_calls_are_timed(instrument):
    watch = Stopwatch()
    microscope = timed(replace(instrument.microscope, z=_Slow()), watch)
    assert microscope.z.position_um == 3.0
    microscope.z.move_to(4.0)
    assert watch.spent_s >= 0.02
    assert not isinstance(microscope.z, RecordedZ)
