"""Boards with GRBL, Marlin and the Sangaboard keep the contracts of stages and lamps, emulated behind a terminal."""

import math

import pytest
from contract import Connection, ConnectionContract, LampContract, SettledContract, XYContract, ZContract
from pydantic import ValidationError

from emulated import LIMITS, board
from parfocal.devices.base import Homing
from parfocal.devices.driver import driver_named
from parfocal.errors import InstrumentError, LimitError, SettingsError

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


class TestSettled(SettledContract):
    @pytest.fixture(params=["grbl", "marlin", "sangaboard"])
    def emulated(self, request, small_toml):
        with board(request.param, small_toml(), haste=5.0) as emulated:
            yield emulated

    @pytest.fixture
    def z(self, emulated):
        devices = emulated.open(["z"])
        yield devices.z
        devices.close()

    @pytest.fixture
    def z_places(self):
        return [40.0, -10.0]

    @pytest.fixture
    def stands_um(self, emulated):
        return lambda: emulated.stand.place_um[2]


class TestConnection(ConnectionContract):
    @pytest.fixture(params=["grbl", "marlin", "sangaboard"])
    def connection(self, request, small_toml):
        with board(request.param, small_toml()) as emulated:
            goals = iter(range(10, 100, 10))

            def opened():
                devices = emulated.open(["xy", "z"])
                return devices.close, lambda: devices.z.move_to(float(next(goals))), lambda: devices.z.position_um

            yield Connection(opened, lambda: setattr(emulated.firmware, "receive", lambda _: None), 0.15)


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
        devices = emulated.open(
            um_per_unit=(1000.0, 1000.0, 500.0), origin_um=(2000.0, -1000.0, 50.0), z_limits_um=(-200.0, 150.0)
        )
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


class TestTheZeroOfAnAxisWithoutASwitch:
    def test_has_to_be_told(self, small_toml):
        with board("marlin", small_toml()) as emulated:
            with pytest.raises(SettingsError, match=r'z would not be homed, .* set zero = "power-on"'):
                emulated.open(home_axes="xy")
            assert emulated.firmware._moves == 0

    def test_is_the_boards_and_it_does_not_say_that_it_can_home(self, small_toml):
        with board("marlin", small_toml()) as emulated:
            devices = emulated.open(home_axes="xy", zero="power-on")
            assert isinstance(devices.xy, Homing)
            assert not isinstance(devices.z, Homing)
            devices.close()

    @pytest.mark.parametrize("driver", ["grbl", "marlin"])
    def test_may_be_where_it_stands(self, small_toml, driver):
        with board(driver, small_toml()) as emulated:
            if driver == "grbl":
                emulated.firmware.settings[22] = 0  # homing is switched off
                emulated.firmware._is_locked = False
            emulated.firmware.motors.origin_um = (0.0, 0.0, -40.0)
            devices = emulated.open(home=False, zero="here", z_limits_um=(-200.0, 200.0))
            assert devices.z.position_um == pytest.approx(0.0)
            devices.z.move_to(-20.0)
            assert emulated.stand.place_um[2] == pytest.approx(-20.0)
            devices.close()


def test_marlin_homes_z_first_and_does_not_lift_it_towards_the_lens(small_toml):
    with board("marlin", small_toml()) as emulated:
        emulated.stand.start((500.0, 0.0, 80.0), 0.0)
        went, start = [], emulated.stand.start
        emulated.stand.start = lambda place_um, duration_s: (went.append(place_um), start(place_um, duration_s))
        emulated.open().close()
        assert [place_um[2] for place_um in went] == pytest.approx([0.0, 0.0])
        assert [place_um[0] for place_um in went] == pytest.approx([500.0, 0.0])


def test_grbl_homes_once_for_z_and_xy(small_toml):
    with board("grbl", small_toml()) as emulated:
        devices = emulated.open()
        devices.z.move_to(40.0)
        moves = emulated.firmware._moves
        devices.z.home()
        devices.xy.home()
        assert emulated.firmware._moves == moves + 1
        devices.xy.move_to(100.0, 0.0)
        devices.xy.home()
        assert emulated.firmware._moves == moves + 3
        devices.close()


class TestSettings:
    @pytest.mark.parametrize(
        ("driver", "why"), [("grbl", r"the 0\.8 mm that GRBL's own .*\$132"), ("marlin", r"endstops .*-0\.4 … 0\.4 mm")]
    )
    def test_limits_beyond_the_firmwares_are_refused_before_it_homes(self, small_toml, driver, why):
        with board(driver, small_toml()) as emulated:
            with pytest.raises(SettingsError, match=why):
                emulated.open(z_limits_um=(-500.0, 500.0))
            assert emulated.firmware._moves == 0
            emulated.open().close()

    def test_the_laser_mode_of_grbl_is_refused_where_the_spindles_output_lights_the_lamp(self, small_toml):
        with board("grbl", small_toml()) as emulated:
            emulated.firmware.settings[32] = 1
            with pytest.raises(
                InstrumentError, match=r"laser mode; set \$32=0, or switch the lamp by lamp_on = \"M8\""
            ):
                emulated.open()
            emulated.open(lamp_on="M8", lamp_off="M9").close()

    @pytest.mark.parametrize("limits_um", [(-math.inf, math.inf), (10.0, -10.0), (0.0, math.nan)])
    @pytest.mark.parametrize("driver", ["grbl", "micromanager", "openflexure"])
    def test_limits_without_an_end_or_without_room_are_refused(self, driver, limits_um):
        settings = {"grbl": {"port": "p", **LIMITS}, "openflexure": {"url": "http://127.0.0.1:1", **LIMITS}}
        values = settings.get(driver, {"configuration": "c.cfg"}) | {"z_limits_um": limits_um}
        with pytest.raises(ValidationError, match="not two finite, rising numbers"):
            driver_named(driver).settings.model_validate(values)

    def test_home_axes_name_each_axis_once(self):
        with pytest.raises(ValidationError, match="names an axis twice"):
            driver_named("marlin").settings.model_validate({"port": "p", **LIMITS, "home_axes": "xx"})
