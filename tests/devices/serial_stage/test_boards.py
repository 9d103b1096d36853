"""Boards with GRBL, Marlin and the Sangaboard keep the contracts of stages and lamps, emulated behind a terminal."""

import pytest
from contract import LampContract, XYContract, ZContract

from emulated import board
from parfocal.devices.base import Homing
from parfocal.errors import LimitError, SettingsError

DRIVERS = ("grbl", "marlin", "sangaboard", "sangaboard-old")


@pytest.fixture(scope="class", params=DRIVERS)
def opened(request, small_toml):
    old = {"blocking": True} if request.param == "sangaboard-old" else {}
    with board(request.param.removesuffix("-old"), small_toml(), **old) as emulated:
        roles = ("xy", "z") if old else ("xy", "z", "lamp")
        devices = emulated.open(roles)
        yield devices
        devices.close()


class TestXY(XYContract):
    @pytest.fixture
    def xy(self, opened):
        return opened.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (125.0, -2500.0), (-10_000.0, 10_000.0), (7.5, 2.5)]


class TestZ(ZContract):
    @pytest.fixture
    def z(self, opened):
        return opened.z

    @pytest.fixture
    def z_places(self):
        return [0.0, -22.0, -8.1, 299.9]


class TestLamp(LampContract):
    @pytest.fixture(params=["grbl", "marlin", "sangaboard"])
    def lamp(self, request, small_toml):
        with board(request.param, small_toml()) as emulated:
            devices = emulated.open()
            yield devices.lamp
            devices.close()


def test_limits_are_whole_steps_within_what_was_set(small_toml):
    with board("grbl", small_toml()) as emulated:
        devices = emulated.open(z_limits_um=(-50.04, 50.06), x_limits_um=(-1001.0, 1001.0))
        assert devices.z.limits_um == pytest.approx((-50.0, 50.0))
        assert devices.xy.limits_um[0] == pytest.approx((-1000.0, 1000.0))
        devices.close()


def test_a_target_between_two_steps_is_reported_as_the_step_that_is_reached(small_toml):
    with board("grbl", small_toml()) as emulated:
        devices = emulated.open()
        devices.xy.move_to(3.6, 1.0)
        assert devices.xy.position_um == pytest.approx((2.5, 0.0))
        assert emulated.stand.place_um[:2] == pytest.approx((2.5, 0.0))
        devices.close()


def test_um_per_unit_and_the_origin_place_our_zero_on_the_board(small_toml):
    with board("marlin", small_toml()) as emulated:
        devices = emulated.open(um_per_unit=(1000.0, 1000.0, 500.0), origin_um=(2000.0, -1000.0, 50.0))
        assert devices.xy.position_um == pytest.approx((-2000.0, 1000.0))
        devices.xy.move_to(0.0, 0.0)
        devices.z.move_to(10.0)
        assert emulated.stand.place_um == pytest.approx((2000.0, -1000.0, 120.0))  # 60 µm of z are 0.12 of its mm
        devices.close()


def test_a_board_without_a_camera_or_an_axis_gives_only_what_it_is_asked_for(small_toml):
    with board("sangaboard", small_toml()) as emulated:
        devices = emulated.open(["z"])
        assert devices.xy is devices.lamp is devices.camera is None
        with pytest.raises(LimitError, match="z 301"):
            devices.z.move_to(301.0)
        devices.close()


def test_limits_without_a_step_between_them_are_refused(small_toml):
    with board("grbl", small_toml()) as emulated:
        with pytest.raises(SettingsError, match=r"z_limits_um .* leave no room for a step of 0\.1 µm"):
            emulated.open(z_limits_um=(0.01, 0.02))
        emulated.open().close()


@pytest.mark.parametrize("driver", ["grbl", "marlin"])
def test_a_stage_with_home_switches_finds_its_zero_again(small_toml, driver):
    with board(driver, small_toml()) as emulated:
        devices = emulated.open()
        devices.z.move_to(40.0)
        emulated.firmware.motors.origin_um = (0.0, 0.0, 3.0)  # steps were lost, and nobody noticed
        assert isinstance(devices.z, Homing)
        devices.z.home()
        assert devices.z.position_um == 0.0
        assert emulated.stand.place_um[2] == pytest.approx(0.0)
        assert isinstance(devices.xy, Homing)
        devices.close()


def test_a_stage_without_home_switches_does_not_say_that_it_can_home(small_toml):
    with board("sangaboard", small_toml()) as emulated:
        devices = emulated.open()
        assert not isinstance(devices.z, Homing)
        devices.close()
