"""What goes wrong with a board is said in words or put right; the lamp goes out, and the next opening goes on."""

import errno
from threading import Timer
from types import SimpleNamespace

import pytest
import serial

from emulated import LIMITS, asked, board
from parfocal.devices.approach import lamp_lit
from parfocal.devices.driver import driver_named
from parfocal.devices.serial_stage import line
from parfocal.errors import InstrumentError
from parfocal.supervisor import __main__ as supervisor

DRIVERS = ("grbl", "marlin", "sangaboard")
each_driver = pytest.mark.parametrize("driver", DRIVERS)


@pytest.fixture
def switched_on(small_toml):
    """Switch a board on: `with switched_on("grbl") as emulated`."""
    return lambda driver, **options: board(driver, small_toml(), **options)


class TestThePort:
    @each_driver
    def test_that_does_not_exist_is_named(self, switched_on, driver):
        with switched_on(driver) as emulated, pytest.raises(InstrumentError, match="nowhere: there is no such port"):
            emulated.open(port="/dev/nowhere")

    def test_that_is_a_file_is_no_port(self, switched_on, tmp_path):
        path = tmp_path / "file"
        path.write_text("text")
        with switched_on("grbl") as emulated, pytest.raises(InstrumentError, match="not a serial port"):
            emulated.open(port=str(path))

    def test_that_may_not_be_opened_says_who_may(self, switched_on, monkeypatch):
        def refuse(*_arguments, **_options):
            raise serial.SerialException(errno.EACCES, "could not open port: Permission denied")

        with switched_on("grbl") as emulated:
            monkeypatch.setattr(serial, "Serial", refuse)
            with pytest.raises(InstrumentError, match="no permission: add yourself to the group"):
                emulated.open()

    @each_driver
    def test_that_another_program_uses_is_busy(self, switched_on, driver, monkeypatch):
        monkeypatch.setattr("parfocal.devices.serial_stage.line._BUSY_S", 0.1)
        with switched_on(driver) as emulated:
            first = emulated.open()
            with pytest.raises(InstrumentError, match="another program is using it"):
                emulated.open()
            first.close()
            emulated.open().close()

    def test_that_is_held_while_a_lamp_is_put_out_is_waited_for_as_long_as_that_may_take(self, monkeypatch):
        now_s, opened = [0.0], []

        def sleep(pause_s):
            now_s[0] += pause_s

        def held_by_the_supervisor(port, *_arguments, **_options):
            if now_s[0] < supervisor._ANSWERS_WITHIN_S:
                raise serial.SerialException(errno.EBUSY, "could not open port: busy")
            opened.append(port)

        monkeypatch.setattr(line, "time", SimpleNamespace(monotonic=lambda: now_s[0], sleep=sleep))
        monkeypatch.setattr(serial, "Serial", held_by_the_supervisor)
        line.SerialLine("/dev/ttyUSB0", 115200)
        assert opened == ["/dev/ttyUSB0"]

    def test_that_another_program_uses_for_a_moment_is_waited_for(self, switched_on):
        with switched_on("grbl") as emulated:
            first = emulated.open()
            Timer(0.2, first.close).start()
            emulated.open().close()

    def test_with_another_board_behind_it_is_told_of(self, switched_on):
        with switched_on("sangaboard") as emulated:
            grbl = driver_named("grbl")
            settings = grbl.settings(port=emulated.port.name, wake_s=0.6, **LIMITS)
            with pytest.raises(InstrumentError, match=r"no GRBL 1\.1 answers within 0\.6 s"):
                grbl.open(settings, asked(["xy"]))


@each_driver
def test_the_lamp_can_be_opened_alone_and_nothing_moves(switched_on, driver):
    with switched_on(driver) as emulated:
        emulated.open(["lamp"]).close()
        assert emulated.firmware._moves == 0


@each_driver
def test_the_lamp_can_be_put_out_by_another_program_while_the_stage_still_moves(switched_on, driver):
    with switched_on(driver, haste=10.0) as emulated:
        emulated.open(home=False, unlock=True).close() if driver == "grbl" else emulated.open().close()
        emulated.stand.switch(True)
        emulated.firmware.queue((4000, 0, 0))
        lamp = emulated.open(["lamp"])
        lamp.lamp.off()
        assert not emulated.instrument.microscope.lamp.is_on
        lamp.close()


@each_driver
def test_a_board_unplugged_in_mid_move_is_told_of_and_the_lamp_is_off(switched_on, driver):
    with switched_on(driver, haste=5.0) as emulated:
        devices = emulated.open()
        emulated.faults.unplug_in_move = emulated.firmware._moves + 1
        with pytest.raises(InstrumentError, match="is gone: was the board unplugged"), lamp_lit(devices.lamp):
            devices.z.move_to(100.0)
        assert not emulated.instrument.microscope.lamp.is_on
        with pytest.raises(InstrumentError, match="is gone"):
            devices.xy.move_to(100.0, 0.0)
        devices.close()
        devices.close()


@each_driver
def test_a_restart_in_mid_move_is_noticed_and_nothing_moves_until_it_is_opened_again(switched_on, driver):
    with switched_on(driver, haste=5.0) as emulated:
        devices = emulated.open()
        emulated.faults.reset_in_move = emulated.firmware._moves + 1
        with pytest.raises(InstrumentError, match=r"restarted.*position is not known"), lamp_lit(devices.lamp):
            devices.z.move_to(100.0)
        assert not emulated.instrument.microscope.lamp.is_on
        moves = emulated.firmware._moves
        for move in (lambda: devices.z.move_to(0.0), lambda: devices.xy.move_to(10.0, 0.0)):
            with pytest.raises(InstrumentError, match="position is not known"):
                move()
        assert emulated.firmware._moves == moves
        devices.close()
        again = emulated.open()
        again.z.move_to(50.0)
        if driver != "sangaboard":  # which cannot home: it counts from where it restarted
            assert emulated.stand.place_um[2] == pytest.approx(50.0)
        again.close()


class TestAlarm:
    @pytest.mark.parametrize(
        ("driver", "why"),
        [("grbl", "alarm, a limit switch was hit"), ("marlin", r"halted itself.*switch it off and on")],
    )
    def test_in_mid_move_ends_it_with_the_reason_and_the_lamp_off(self, switched_on, driver, why):
        with switched_on(driver, haste=5.0) as emulated:
            devices = emulated.open()
            emulated.faults.alarm_in_move = emulated.firmware._moves + 1
            with pytest.raises(InstrumentError, match=why):
                devices.z.move_to(100.0)
            with pytest.raises(InstrumentError, match="position is not known"):
                devices.z.move_to(0.0)
            assert not emulated.instrument.microscope.lamp.is_on
            devices.close()

    def test_a_sangaboard_that_stops_short_is_told_to_go_on(self, switched_on):
        with switched_on("sangaboard", haste=5.0) as emulated:
            devices = emulated.open()
            emulated.faults.alarm_in_move = emulated.firmware._moves + 1
            devices.z.move_to(100.0)
            assert emulated.stand.place_um[2] == pytest.approx(100.0)
            devices.close()

    def test_of_grbl_puts_the_lamp_out_by_a_reset_and_is_homed_at_the_next_opening(self, switched_on):
        with switched_on("grbl") as emulated:
            devices = emulated.open()
            devices.lamp.on()
            emulated.firmware._is_locked = True
            devices.lamp.off()
            assert not emulated.instrument.microscope.lamp.is_on
            devices.close()
            emulated.stand.start((100.0, 0.0, 30.0), 0.0)
            again = emulated.open()
            assert emulated.stand.place_um == pytest.approx((0.0, 0.0, 0.0))
            again.close()

    def test_of_grbl_is_kept_where_it_may_neither_home_nor_unlock(self, switched_on):
        with switched_on("grbl") as emulated:
            with pytest.raises(InstrumentError, match="set home = true, or unlock = true"):
                emulated.open(home=False)
            emulated.open(home=False, unlock=True).close()


class TestALineWithNoise:
    @each_driver
    def test_lost_acknowledgements_do_not_end_a_move(self, switched_on, driver):
        with switched_on(driver) as emulated:
            devices = emulated.open()
            for lost in (1, 2):
                emulated.faults.lost_answers = lost
                devices.z.move_to(10.0 * lost)
                assert devices.z.position_um == pytest.approx(10.0 * lost)
                assert emulated.stand.place_um[2] == pytest.approx(10.0 * lost)
            devices.close()

    @each_driver
    def test_garbage_between_answers_is_passed_over(self, switched_on, driver):
        with switched_on(driver) as emulated:
            devices = emulated.open()
            emulated.faults.garbage = 5
            devices.xy.move_to(100.0, 50.0)
            assert emulated.stand.place_um[:2] == pytest.approx((100.0, 50.0))
            devices.close()

    @each_driver
    def test_a_move_that_is_interrupted_is_stopped_and_does_not_confuse_what_is_asked_next(self, switched_on, driver):
        with switched_on(driver, haste=0.3) as emulated:
            devices = emulated.open()
            board_line = devices.z._motors._line
            read, seen = board_line.read, []

            def interrupt(timeout_s):
                if emulated.stand.is_moving and len(seen) > 5:
                    board_line.read = read
                    raise KeyboardInterrupt
                seen.append(timeout_s)
                return read(timeout_s)

            devices.lamp.on()
            board_line.read = interrupt
            with pytest.raises(KeyboardInterrupt), lamp_lit(devices.lamp):
                devices.z.move_to(100.0)
            assert not emulated.instrument.microscope.lamp.is_on
            assert not emulated.stand.is_moving
            assert emulated.stand.place_um[2] < 100.0
            devices.close()
            again = emulated.open()
            again.z.move_to(-20.0)
            assert emulated.stand.place_um[2] == pytest.approx(-20.0)
            again.close()


@each_driver
def test_a_move_takes_its_time_and_is_waited_for(switched_on, driver):
    with switched_on(driver, haste=2.0) as emulated:
        devices = emulated.open()
        devices.z.move_to(60.0)
        assert not emulated.stand.is_moving
        assert emulated.stand.place_um[2] == pytest.approx(60.0)
        devices.close()


@each_driver
def test_a_move_that_lasts_too_long_is_given_up(switched_on, driver):
    with switched_on(driver, haste=0.05) as emulated:
        devices = emulated.open(move_s=0.3, home=False, unlock=True) if driver == "grbl" else None
        devices = devices or emulated.open(move_s=0.3)
        with pytest.raises(InstrumentError, match=r"did not end within 0\.3 s|away from where it was sent"):
            devices.z.move_to(250.0)
        emulated.stand.halt()
        devices.close()
