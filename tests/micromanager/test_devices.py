"""A configuration of Micro-Manager may name an instrument of Parfocal; the driver then reaches it through the core."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parfocal.config import open_microscope
from parfocal.devices.driver import Asked, driver_named
from parfocal.devices.micromanager.settings import MicroManagerSettings
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import InstrumentError, SettingsError

pytest.importorskip("pymmcore_plus.experimental.unicore")

from parfocal.micromanager.devices import Instrument

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "microscopes" / "micromanager-unimmcore.cfg"
LIMITS = {"xy_limits_um": ((-12_500, 12_500), (-12_500, 12_500)), "z_limits_um": (-500, 500)}


@pytest.fixture
def configuration(small_toml, tmp_path):
    """Write the example's configuration for the small instrument; `configuration((old, new), …)` changes it."""

    def write(*changes):
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in (("simulated-20x", small_toml()), ("he-tissue", "blood-smear"), *changes):
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "small.cfg"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def opened(path, *roles):
    settings = MicroManagerSettings.model_validate({"configuration": path.name, **LIMITS})
    asked = Asked(frozenset(roles), (240, 320), 0.345, WallClock(), path.parent)
    return driver_named("micromanager").open(settings, asked)


def test_the_instrument_is_the_one_that_the_file_names(configuration, small_toml):
    direct = open_microscope(small_toml(), "blood-smear", seed=1).microscope
    devices = opened(configuration(), "camera", "xy", "z", "lamp")
    for microscope in (direct, devices):
        microscope.lamp.on()
        microscope.xy.move_to(300.0, 200.0)
        microscope.z.move_to(5.0)
    assert (devices.camera.snap() == direct.camera.snap()).all()
    devices.close()


def test_letting_go_puts_the_lamp_out_and_the_label_can_be_used_again(configuration):
    path = configuration()
    dark = []
    for _ in range(2):
        devices = opened(path, "camera", "lamp")
        dark.append(devices.camera.snap().mean())
        devices.lamp.on()
        devices.close()
    assert np.all(np.array(dark) < 20)


def test_a_device_without_an_instrument_says_which_line_is_missing(configuration):
    with pytest.raises(SettingsError, match="needs the line #py Parent,Camera"):
        opened(configuration(("#py Parent,Camera,Microscope\n", "")), "camera")


def test_an_instrument_that_does_not_exist_is_refused_as_everywhere(configuration):
    with pytest.raises(SettingsError, match="blood-smeer"):
        opened(configuration(("blood-smear", "blood-smeer")), "camera")


def test_two_instruments_of_one_label_do_not_mix(configuration):
    first = opened(configuration(), "z")
    with pytest.raises(InstrumentError, match="Microscope could not be initialised"):
        opened(configuration(), "z")
    first.close()


def test_a_lamp_that_disobeys_does_not_keep_the_rest_from_being_let_go_of(monkeypatch):
    hub = Instrument()
    closed = []

    class Stubborn:
        def off(self):
            raise InstrumentError("it stays lit")

    monkeypatch.setattr(hub, "get_label", lambda: "Microscope")
    hub.initialize()
    opened = open_microscope("simulated-20x")
    hub._opened = replace(
        opened, microscope=replace(opened.microscope, lamp=Stubborn()), close=lambda: closed.append(True)
    )
    with pytest.raises(InstrumentError, match="it stays lit"):
        hub.shutdown()
    assert closed == [True]
    other = Instrument()
    monkeypatch.setattr(other, "get_label", lambda: "Microscope")
    other.initialize()
    other.shutdown()
