"""What the emulated firmwares say, line by line, as the firmwares' own documents have it."""

import math

import pytest

from parfocal.config import open_microscope
from parfocal.emulators.firmware import Faults
from parfocal.emulators.grbl import GrblFirmware
from parfocal.emulators.marlin import MarlinFirmware
from parfocal.emulators.sangaboard import SangaboardFirmware
from parfocal.emulators.stand import Stand


class Talk:
    """A firmware without a line: `talk("G0 X1")` is what it says to that."""

    def __init__(self, kind, toml, haste=math.inf, **options):
        self.microscope = open_microscope(toml).microscope
        self.stand = Stand(self.microscope, haste)
        self.firmware = kind(self.stand, Faults(), **options)
        self.said = ""
        self.firmware.write = self.hear
        self.firmware.boot()
        self.greeting = self.taken()

    def hear(self, text):
        self.said += text

    def taken(self):
        said, self.said = self.said, ""
        return said.strip().replace("\r\n", "\n")

    def __call__(self, line, end="\n"):
        self.firmware.receive(line + end)
        return self.later()

    def later(self):
        for _ in range(4):
            self.firmware.advance()
        return self.taken()


class TestGrbl:
    @pytest.fixture
    def talk(self, small_toml):
        return Talk(GrblFirmware, small_toml())

    def test_it_is_locked_until_it_is_homed(self, talk):
        assert talk.greeting.startswith("Grbl 1.1h ['$' for help]")
        assert talk("?", end="") == "<Alarm|MPos:0.000,0.000,0.000|FS:0,0>"
        assert talk("G0 X1") == "error:9"
        assert talk("$H") == "ok"
        assert talk("G0 X1") == "ok"
        assert talk("?", end="") == "<Idle|MPos:1.000,0.000,0.000|FS:0,0>"

    def test_or_unlocked(self, talk):
        assert talk("$X") == "[MSG:Caution: Unlocked]\nok"
        assert talk("M8") == "ok"
        assert talk.microscope.lamp.is_on

    def test_a_target_beyond_the_soft_limits_is_an_alarm(self, talk):
        talk("$H")
        assert talk("G0 Z1") == "ALARM:2"
        assert talk("G0 Z0") == "error:9"

    def test_what_it_does_not_know_it_says_so(self, talk):
        talk("$H")
        assert talk("G33 X1") == "error:20"
        assert talk("$nonsense") == "error:3"

    def test_it_tells_its_settings(self, talk):
        told = talk("$$")
        assert "$100=400.000" in told
        assert "$22=1" in told
        assert told.endswith("ok")

    def test_a_reset_puts_the_lamp_out_at_once(self, talk):
        talk("$H")
        talk("M3 S1000")
        talk("\x18", end="")
        assert not talk.microscope.lamp.is_on

    def test_while_it_moves_it_reports_and_takes_moves_but_tells_no_settings(self, small_toml):
        talk = Talk(GrblFirmware, small_toml(), haste=1.0)
        talk("$X")
        assert talk("G0 X0.5") == "ok"
        assert talk("?", end="").startswith("<Run|MPos:0.")
        assert talk("$$") == "error:8"
        assert talk("M5") == ""  # acknowledged when the motion has ended


class TestMarlin:
    @pytest.fixture
    def talk(self, small_toml):
        return Talk(MarlinFirmware, small_toml())

    def test_every_line_is_acknowledged(self, talk):
        assert talk.greeting.startswith("start\n")
        assert talk("G28") == "ok"
        assert talk("G0 X1 Y2 Z0.1 F600") == "ok"
        assert talk("M400") == "ok"
        assert talk("M114") == "X:1.00 Y:2.00 Z:0.10 E:0.00 Count X:400 Y:800 Z:1000\nok"

    def test_what_it_does_not_know_it_says_and_acknowledges(self, talk):
        assert talk("M999") == 'echo:Unknown command: "M999"\nok'

    def test_homing_where_it_is_not_needed_moves_nothing(self, talk):
        talk("G28")
        talk("G0 X1")
        assert talk("G28 O X Y Z") == "ok"
        assert "X:1.00" in talk("M114")
        talk("G28")
        assert "X:0.00" in talk("M114")

    def test_the_fan_is_the_lamp(self, talk):
        talk("M106 S255")
        assert talk.microscope.lamp.is_on
        talk("M107")
        assert not talk.microscope.lamp.is_on

    def test_m400_is_acknowledged_when_motion_has_ended(self, small_toml):
        talk = Talk(MarlinFirmware, small_toml(), haste=1.0)
        assert talk("G0 X0.5") == "ok"
        assert "ok" not in talk("M400")
        talk.stand.halt()
        assert talk.later() == "ok"


class TestSangaboard:
    def test_moves_that_do_not_block_are_acknowledged_at_once_and_asked_after(self, small_toml):
        talk = Talk(SangaboardFirmware, small_toml())
        assert talk.greeting == "Sangaboard Firmware v1.0.4"
        assert talk("blocking_moves false") == "done."
        assert talk("mr 100 -50 20") == "done."
        assert talk("moving?") == "false"
        assert talk("p?") == "100 -50 20"
        assert talk("mrz -20") == "done."
        assert talk("p") == "100 -50 0"

    def test_moves_that_block_are_acknowledged_at_their_end(self, small_toml):
        talk = Talk(SangaboardFirmware, small_toml(), haste=1.0)
        assert talk("mr 5000 0 0") == ""
        talk.stand.halt()
        assert talk.later() == "done."

    def test_its_led_is_the_lamp(self, small_toml):
        talk = Talk(SangaboardFirmware, small_toml())
        talk("led_cc 0.32")
        assert talk.microscope.lamp.is_on
        assert talk("led_cc?") == "CC LED:0.32"
        talk("led_cc 0")
        assert not talk.microscope.lamp.is_on

    def test_the_older_kind_knows_no_led(self, small_toml):
        talk = Talk(SangaboardFirmware, small_toml(), blocking=True)
        assert talk("led_cc 0.32") == "Type 'help' for a list of commands."
        assert not talk.microscope.lamp.is_on

    def test_zero_is_where_it_stands(self, small_toml):
        talk = Talk(SangaboardFirmware, small_toml())
        talk("mr 100 0 0")
        assert talk("zero") == "position reset to 0 0 0"
        assert talk("p?") == "0 0 0"


def test_a_stage_seen_under_way_is_between_two_places(small_toml):
    stand = Stand(open_microscope(small_toml()).microscope)
    stand.start((100.0, 0.0, 50.0), 30.0)
    x_um, _, z_um = stand.place_um
    assert 0 <= x_um < 100
    assert z_um == pytest.approx(x_um / 2, abs=0.5)
    stand.halt()
    assert not stand.is_moving


def test_the_emulated_stage_has_the_backlash_of_the_simulated_one(small_toml):
    simulated = open_microscope(small_toml())
    stand = Stand(simulated.microscope, math.inf)
    stand.start((0.0, 0.0, 30.0), 1.0)
    stand.start((0.0, 0.0, 15.0), 1.0)  # within the slack of 20 µm: nothing follows
    stand.halt()
    assert stand.place_um[2] == 15.0
    assert simulated.truth.stage_position_um[2] == pytest.approx(30.0, abs=0.6)
