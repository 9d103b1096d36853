"""An instrument put together from drivers: each device has one giver, and all are let go of."""

from dataclasses import replace

import pytest

from drivers_of_tests import CLOSED
from parfocal import api
from parfocal.config import open_lamp, open_microscope, reopening
from parfocal.devices.axes import InvertedZ
from parfocal.devices.driver import Devices
from parfocal.errors import DisconnectedError, InstrumentError, SettingsError
from parfocal.supervisor.overseen import overseen

REST = """
[objective]
magnification = 20
na = 0.75
[camera]
frame_shape = [240, 320]
pixel_size_um = 0.345
sensor_pixel_um = 3.45
[approach]
delta_um = 2.0
backlash_um = 20.0
take_up_um = 22.0
start_below_um = 6.0
[z]
lowest_um = -120.0
highest_um = 120.0
[sweep]
lowest_um = -20.0
highest_um = 20.0
"""
STAND = 'driver = "drivers_of_tests:STAND"\n'
LIAR = 'driver = "drivers_of_tests:LIAR"\n'


@pytest.fixture
def toml(tmp_path):
    """Write an instrument's file with these tables of devices; gives its path."""

    def write(**devices):
        tables = "".join(f"[devices.{name}]\n{text}" for name, text in devices.items())
        path = tmp_path / "put-together.toml"
        path.write_text(f'name = "put-together"\nkind = "devices"\n{REST}{tables}', encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(autouse=True)
def _nothing_closed_yet():
    CLOSED.clear()


def test_one_driver_may_give_everything(toml):
    with open_microscope(toml(all=STAND)) as instrument:
        microscope = instrument.microscope
        assert microscope.name == "put-together"
        assert microscope.camera.frame_shape == (240, 320)
        assert instrument.truth is None
        assert instrument.specimen == ""
    assert CLOSED == ["stand"]


def test_devices_of_several_drivers_make_one_microscope(toml):
    stage = STAND + 'roles = ["xy", "z"]\nname = "stage"\n'
    eye = STAND + 'roles = ["camera"]\nname = "eye"\n'
    with open_microscope(toml(stage=stage, eye=eye, lamp='driver = "always-on"\n'), "a leaf") as instrument:
        instrument.microscope.xy.move_to(10.0, 20.0)
        assert instrument.microscope.xy.position_um == (10.0, 20.0)
        assert instrument.specimen == "a leaf"
    assert sorted(CLOSED) == ["eye", "stage"]


def test_z_is_opened_before_xy_lest_homing_drives_it_against_something(toml):
    xy = STAND + 'roles = ["xy"]\nname = "xy"\nanswers = false\n'
    z = STAND + 'roles = ["z", "lamp"]\nname = "z"\n'
    with pytest.raises(InstrumentError, match="xy does not answer"):
        open_microscope(toml(xy=xy, eye=STAND + 'roles = ["camera"]\n', z=z))
    assert "z" in CLOSED


def test_directions_are_declared_not_programmed(toml):
    with open_microscope(toml(all=STAND + 'invert = ["z"]\n')) as instrument:
        assert isinstance(instrument.microscope.z, InvertedZ)


def test_the_lamp_can_be_opened_alone(toml):
    stage = STAND + 'roles = ["camera", "xy", "z"]\nanswers = false\n'
    with open_lamp(toml(stage=stage, lamp=STAND + 'roles = ["lamp"]\n')) as lamp:
        lamp.off()
        assert not lamp.is_on
    assert CLOSED == ["stand"]


def test_a_lamp_that_is_switched_by_hand_is_known_as_one_and_no_program_claims_to_put_it_out(toml):
    path = toml(stand=STAND + 'roles = ["camera", "xy", "z"]\n', lamp='driver = "always-on"\n')
    with open_microscope(path) as instrument:
        assert instrument.microscope.lamp_by_hand
        assert instrument.lamp_name is None  # so that no supervisor is started for it
    with pytest.raises(SettingsError, match="lamp of put-together is switched by hand"), open_lamp(path):
        pass
    with open_microscope(toml(all=STAND)) as instrument:
        assert not instrument.microscope.lamp_by_hand


def test_after_a_command_it_is_said_that_a_hand_must_switch_it_off(toml, parfocal, tmp_path):
    path = toml(stand=STAND + 'roles = ["camera", "xy", "z"]\n', lamp='driver = "always-on"\n')
    code, _, err = parfocal("scan", path, "--out", tmp_path / "s", "--area", "150x150")
    assert (code, "Switch the lamp off by hand" in err) == (2, True)


def test_when_one_device_does_not_answer_the_others_are_let_go_of(toml):
    stage = STAND + 'roles = ["camera", "z", "lamp"]\nname = "stage"\n'
    with pytest.raises(InstrumentError, match="eye does not answer"):
        open_microscope(toml(stage=stage, eye=STAND + 'roles = ["xy"]\nname = "eye"\nanswers = false\n'))
    assert CLOSED == ["stage"]


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ({}, "a table"),
        ({"all": STAND, "more": STAND}, "both devices.all and devices.more give the camera; say which by roles"),
        ({"all": STAND + 'roles = ["xy", "z", "camera"]\n'}, "gives the lamp; a lamp without a wire is"),
        ({"all": STAND + 'roles = ["lamp"]\n'}, "none of its devices gives the camera"),
        ({"all": 'driver = "always-on"\nroles = ["z"]\n'}, "devices.all: driver always-on has no z"),
        ({"all": STAND + "prot = 3\n"}, "devices.all.prot: Extra inputs are not permitted, got 3"),
        ({"all": 'driver = "nowhere"\n'}, "unknown driver 'nowhere'"),
        ({"all": STAND + 'invert = ["w"]\n'}, "devices.all.invert.0"),
    ],
)
def test_what_cannot_be_put_together_is_refused_with_the_reason(toml, devices, why):
    with pytest.raises(SettingsError, match=why):
        open_microscope(toml(**devices))


def test_a_driver_that_breaks_its_word_is_told_of(toml):
    with pytest.raises(InstrumentError, match="was to give the xy did not"):
        open_microscope(toml(stage=LIAR, rest=STAND + 'roles = ["camera", "lamp"]\n'))
    assert CLOSED == ["stand"]


def test_a_simulated_instrument_has_no_drivers(small_toml):
    path = small_toml("[simulated]", '[devices.all]\ndriver = "always-on"\n[simulated]')
    with pytest.raises(SettingsError, match="has no devices of its own"):
        open_microscope(path)


def test_focusing_once_lets_go_of_the_devices_too(toml, network):
    assert api.focus_once(toml(all=STAND), "", 0)["verdict"] == "focused"
    assert CLOSED == ["stand"]


def test_a_camera_that_was_unplugged_is_opened_again_and_a_stage_is_not(toml):
    eye, lamp = STAND + 'roles = ["camera"]\nname = "eye"\n', STAND + 'roles = ["lamp"]\nname = "lamp"\n'
    stage = STAND + 'roles = ["xy", "z"]\nname = "stage"\n'
    with open_microscope(toml(eye=eye, lamp=lamp, stage=stage)) as instrument:
        camera = instrument.microscope.camera

        def unplugged():
            raise DisconnectedError("no frame came")

        camera.snap = unplugged
        with overseen(replace(instrument, lamp_name=None)) as seen:
            assert seen.microscope.camera.snap().shape == (240, 320, 3)
        assert CLOSED == ["eye"]
        assert (instrument.reopening.xy, instrument.reopening.z) == (None, None)
    assert sorted(CLOSED) == ["eye", "eye", "lamp", "stage"]


def test_one_that_does_not_appear_again_is_given_up(toml, monkeypatch):
    monkeypatch.setattr(reopening, "_APPEARS_WITHIN_S", 0.0)
    monkeypatch.setattr(reopening, "_TRY_AGAIN_S", 0.0)
    answers = [Devices(), InstrumentError("it is not there"), InstrumentError("it is not there")]

    def open_devices():
        if isinstance(answer := answers.pop(0), InstrumentError):
            raise answer
        return answer

    with pytest.raises(DisconnectedError, match="did not appear again within 0 s: it is not there"):
        reopening.Reopenable(open_devices).camera()


def test_an_error_of_the_port_itself_is_waited_for_to_pass(monkeypatch):
    monkeypatch.setattr(reopening, "_TRY_AGAIN_S", 0.0)
    eye = object()
    answers = [Devices(), OSError(16, "Device or resource busy"), Devices(camera=eye)]

    def open_devices():
        if isinstance(answer := answers.pop(0), OSError):
            raise answer
        return answer

    assert reopening.Reopenable(open_devices).camera() is eye


def test_a_recorded_stack_needs_no_devices(toml, recorded_stack, network):
    path = toml(all=STAND + "answers = false\n")
    assert api.focus_replay(recorded_stack, path)["verdict"] == "focused"


def test_adapters_are_measured_with_a_simulated_microscope_and_no_other_is_opened(toml, parfocal):
    code, _, err = parfocal("benchmark", "adapters", toml(all=STAND + "answers = false\n"))
    assert code == 2
    assert "is not a simulated microscope" in err
