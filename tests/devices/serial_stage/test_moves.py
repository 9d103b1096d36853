"""A move that fails leaves nothing to chance: it is stopped, and what the board says afterwards is not believed."""

import threading
import time
from dataclasses import replace

import pytest

from emulated import board
from parfocal.devices.line import Patience
from parfocal.devices.stepped import HomingZ, SteppedZ
from parfocal.devices.wall_clock import WallClock
from parfocal.devices.watched import Reopening, watched
from parfocal.errors import DeviceTimeoutError, DisconnectedError, InstrumentError

each_driver = pytest.mark.parametrize("driver", ["grbl", "marlin", "sangaboard"])


@pytest.fixture
def switched_on(small_toml):
    """Switch a board on: `with switched_on("grbl") as emulated`."""
    return lambda driver, **options: board(driver, small_toml(), **options)


def microscope_of(emulated, devices, patience=None, **reopening):
    parts = {"xy": devices.xy, "z": devices.z, "lamp": devices.lamp, "clock": WallClock()}
    return watched(
        replace(emulated.instrument.microscope, **parts), patience or Patience(), reopening=Reopening(**reopening)
    )


def wait_until_it_moves(emulated):
    until_s = time.monotonic() + 3.0
    while not emulated.stand.is_moving:
        assert time.monotonic() < until_s
        time.sleep(0.005)
    time.sleep(0.05)


@each_driver
def test_a_move_queued_behind_one_in_which_the_board_restarts_is_not_begun(switched_on, driver):
    with switched_on(driver, haste=5.0) as emulated:
        devices = emulated.open()
        devices.z.move_to(100.0)
        reset = emulated.firmware.reset
        emulated.firmware.reset = lambda: (time.sleep(0.2), reset())  # z is waiting by then
        emulated.faults.reset_in_move = (moves := emulated.firmware._moves) + 1
        with pytest.raises(DisconnectedError, match="restarted"):
            WallClock().together(
                lambda: devices.xy.move_to(5000.0, 0.0), lambda: (time.sleep(0.05), devices.z.move_to(150.0))
            )
        assert emulated.firmware._moves == moves + 1
        assert emulated.stand.place_um[2] == pytest.approx(100.0)
        devices.close()


@each_driver
def test_a_move_that_takes_too_long_is_stopped_and_its_place_is_lost(switched_on, driver):
    with switched_on(driver, haste=0.05) as emulated:
        devices = emulated.open(move_s=0.4)
        with pytest.raises(DeviceTimeoutError, match=r"did not end within 0\.4 s and was stopped"):
            devices.z.move_to(250.0)
        stopped_um = emulated.stand.place_um[2]
        assert 0.0 < stopped_um < 250.0
        assert not emulated.stand.is_moving
        for target_um in (0.0, 250.0):
            with pytest.raises(DisconnectedError, match="position is not known any more"):
                devices.z.move_to(target_um)
        assert devices.z.position_um == pytest.approx(
            stopped_um, abs=0.6
        )  # what it was found at, not where it was sent
        assert emulated.stand.place_um[2] == stopped_um
        devices.close()


@each_driver
def test_a_move_that_nobody_waits_for_any_more_is_stopped(switched_on, driver):
    with switched_on(driver, haste=0.05) as emulated:
        devices = emulated.open(move_s=30.0)
        z = microscope_of(emulated, devices, Patience(z_move_s=0.3)).z
        with pytest.raises(DeviceTimeoutError):
            z.move_to(250.0)
        time.sleep(0.5)
        assert not emulated.stand.is_moving
        assert emulated.stand.place_um[2] < 250.0
        devices.close()


@each_driver
def test_waiting_for_xy_on_the_same_board_does_not_use_up_the_time_of_z(switched_on, driver):
    with switched_on(driver, haste=1.0) as emulated:
        devices = emulated.open()
        far_um = 1000.0 if driver == "sangaboard" else 10_000.0
        microscope = microscope_of(emulated, devices, Patience(z_move_s=0.3, xy_move_s=5.0))
        microscope.clock.together(
            lambda: microscope.xy.move_to(far_um, 0.0), lambda: (time.sleep(0.05), microscope.z.move_to(20.0))
        )
        assert emulated.stand.place_um == pytest.approx((far_um, 0.0, 20.0))
        devices.close()


@each_driver
def test_the_lamp_goes_out_at_once_while_a_long_move_lasts(switched_on, driver):
    with switched_on(driver, haste=0.05) as emulated:
        devices = emulated.open(move_s=30.0)
        devices.lamp.on()
        failures = []

        def move():
            try:
                devices.xy.move_to(5000.0, 0.0)
            except InstrumentError as error:
                failures.append(error)

        mover = threading.Thread(target=move)
        mover.start()
        wait_until_it_moves(emulated)
        devices.lamp.off()
        assert not emulated.instrument.microscope.lamp.is_on
        assert emulated.stand.is_moving == (driver == "sangaboard")  # whose lamp needs no stop
        emulated.port.unplug()
        mover.join(5.0)
        assert failures
        devices.close()


class TestGrbl:
    def test_a_small_move_that_was_lost_on_the_line_is_sent_again(self, switched_on):
        with switched_on("grbl") as emulated:
            devices = emulated.open()
            carry_out, lost = emulated.firmware.carry_out, []

            def lose_the_first_move(line):
                if "G0" in line and not lost:
                    lost.append(line)
                else:
                    carry_out(line)

            emulated.firmware.carry_out = lose_the_first_move
            devices.z.move_to(0.4)
            assert lost
            assert emulated.stand.place_um[2] == pytest.approx(0.4)
            devices.close()

    def test_a_lamp_is_put_out_by_a_reset_where_the_board_is_held(self, switched_on):
        with switched_on("grbl") as emulated:
            devices = emulated.open()
            devices.lamp.on()
            emulated.firmware._hold()
            devices.lamp.off()
            assert not emulated.instrument.microscope.lamp.is_on
            devices.close()


@each_driver
def test_a_board_that_stands_elsewhere_than_it_was_left_has_lost_its_place(switched_on, driver):
    with switched_on(driver) as emulated:
        devices = emulated.open()
        devices.z.move_to(100.0)
        emulated.firmware.motors.origin_um = emulated.stand.place_um  # it restarted, and its greeting was not heard
        moves = emulated.firmware._moves
        with pytest.raises(DisconnectedError, match=r"left.*position is not known"):
            devices.z.move_to(150.0)
        assert emulated.firmware._moves == moves
        devices.close()


@pytest.mark.parametrize("driver", ["grbl", "marlin"])
def test_homing_finds_a_lost_place_again(switched_on, driver):
    with switched_on(driver) as emulated:
        devices = emulated.open()
        devices.z.move_to(100.0)
        emulated.faults.reset_in_move = emulated.firmware._moves + 1
        with pytest.raises(DisconnectedError):
            devices.z.move_to(150.0)
        assert isinstance(devices.z, HomingZ)
        devices.z.home()
        devices.z.move_to(30.0)
        assert emulated.stand.place_um[2] == pytest.approx(30.0)
        devices.close()


@pytest.mark.slow
@each_driver
def test_a_board_that_is_opened_again_in_mid_scan_stops_it_or_knows_its_place(switched_on, driver):
    """One that restarted says 0, or is homed, which is not where it was left: neither is gone on with."""
    with switched_on(driver) as emulated:
        devices = emulated.open()

        def reopen():
            devices.close()
            return emulated.open(("z",)).z

        z = microscope_of(emulated, devices, z=reopen).z
        z.move_to(100.0)
        emulated.faults.reset_in_move = emulated.firmware._moves + 1
        with pytest.raises(DisconnectedError, match="no longer knows its place"):
            z.move_to(150.0)
        assert emulated.stand.place_um[2] < 150.0


def test_answers_to_questions_that_were_asked_while_it_started_are_not_taken_for_later_ones(switched_on):
    with switched_on("sangaboard") as emulated:
        carry_out, asked = emulated.firmware.carry_out, []

        def answer_late(line):
            asked.append(line)
            if len(asked) == 2:
                carry_out("version")
                threading.Timer(0.15, carry_out, ["version"]).start()
            elif len(asked) > 2:
                carry_out(line)

        emulated.firmware.carry_out = answer_late
        devices = emulated.open()
        devices.z.move_to(10.0)
        assert isinstance(devices.z, SteppedZ)
        assert emulated.stand.place_um[2] == pytest.approx(10.0)
        devices.close()
