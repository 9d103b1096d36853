"""A call has its time and its tries; on the clock on the wall, and on a modelled one."""

import threading

import pytest

from parfocal.devices.line import Line, Patience
from parfocal.devices.simulated import VirtualClock
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import DeviceTimeoutError, DisconnectedError, InstrumentError, LimitError, SettingsError


class Bell:
    """A device that fails, in order, as it is told to; "ring" once nothing is left to fail with."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.rung = 0

    def ring(self):
        self.rung += 1
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            failure()
        return "ring"


def call(line, timeout_s=5.0):
    return line.call("ring", lambda bell: bell.ring(), timeout_s)


@pytest.fixture(params=[WallClock, VirtualClock], ids=["wall", "modelled"])
def clock(request):
    return request.param()


def no():
    return InstrumentError("no")


class TestTries:
    def test_a_call_that_works_is_made_once(self, clock):
        bell = Bell()
        assert call(Line("bell", bell, clock)) == "ring"
        assert bell.rung == 1

    def test_one_that_fails_is_made_again(self, clock):
        bell = Bell(no(), no())
        assert call(Line("bell", bell, clock)) == "ring"
        assert bell.rung == 3

    def test_but_not_for_ever(self, clock):
        bell = Bell(no(), no(), no())
        with pytest.raises(InstrumentError, match=r"bell: ring failed 3 times: no"):
            call(Line("bell", bell, clock))
        assert bell.rung == 3

    def test_a_target_outside_the_limits_is_not_tried_again(self, clock):
        bell = Bell(LimitError("z 900 µm is outside"))
        with pytest.raises(LimitError, match="outside"):
            call(Line("bell", bell, clock))
        assert bell.rung == 1

    def test_every_try_is_a_sign_of_life(self, clock):
        beats = []
        call(Line("bell", Bell(no(), no()), clock, beat=lambda: beats.append("alive")))
        assert len(beats) == 3

    def test_where_nobody_hears_it_any_more_nothing_is_called_and_nothing_tried_again(self, clock):
        beats, bell = [], Bell()

        def beat():
            beats.append("alive")
            raise InstrumentError("nobody is there")

        line = Line("bell", bell, clock, beat=beat)
        with pytest.raises(InstrumentError, match=r"^nobody is there$"):
            call(line)
        assert (len(beats), bell.rung) == (1, 0)
        assert line.call("ring", lambda bell: bell.ring(), 5.0, unheard=True) == "ring"


class TestADeviceThatDropsOff:
    @pytest.mark.parametrize("dropped", [DisconnectedError("unplugged"), OSError(5, "Input/output error")])
    def test_is_opened_again(self, clock, dropped):
        fresh = Bell()
        line = Line("bell", Bell(dropped), clock, reopen=lambda: fresh)
        assert call(line) == "ring"
        assert line.device is fresh
        assert fresh.rung == 1

    def test_ends_the_call_where_nobody_knows_how(self, clock):
        bell = Bell(OSError(5, "Input/output error"))
        with pytest.raises(DisconnectedError, match=r"bell: ring: .*Input/output error"):
            call(Line("bell", bell, clock))
        assert bell.rung == 1

    def test_and_says_so_when_it_does_not_come_back(self, clock):
        def absent():
            raise InstrumentError("no such port")

        with pytest.raises(DisconnectedError, match="unplugged; and it cannot be opened again: no such port"):
            call(Line("bell", Bell(DisconnectedError("unplugged")), clock, reopen=absent))

    def test_is_not_opened_again_for_ever(self, clock):
        opened = []

        def reopen():
            opened.append(Bell(DisconnectedError("unplugged")))
            return opened[-1]

        with pytest.raises(DisconnectedError):
            call(Line("bell", reopen(), clock, reopen=reopen))
        assert len(opened) == 3


class TestTimeOnTheWall:
    @pytest.fixture
    def hangs(self):
        let_go = threading.Event()
        yield let_go.wait
        let_go.set()

    def test_a_call_that_does_not_come_back_is_left_behind(self, hangs):
        line = Line("bell", Bell(hangs), WallClock())
        with pytest.raises(DeviceTimeoutError, match=r"bell: ring did not end within 0.05 s"):
            call(line, 0.05)

    def test_nothing_is_asked_of_a_device_that_is_still_busy(self, hangs):
        bell = Bell(hangs)
        line = Line("bell", bell, WallClock())
        with pytest.raises(DeviceTimeoutError):
            call(line, 0.05)
        with pytest.raises(DeviceTimeoutError, match="an earlier call has not come back yet"):
            call(line, 0.05)
        assert bell.rung == 1

    def test_opened_again_it_answers(self, hangs):
        line = Line("bell", Bell(hangs), WallClock(), reopen=Bell)
        assert call(line, 0.05) == "ring"

    def test_opening_it_again_has_its_time_too(self, hangs, monkeypatch):
        monkeypatch.setattr("parfocal.devices.line.OPENS_WITHIN_S", 0.05)
        line = Line("bell", Bell(DisconnectedError("unplugged")), WallClock(), reopen=hangs)
        with pytest.raises(DisconnectedError, match=r"unplugged; .*: bell: opening did not end within 0.05 s"):
            call(line)

    def test_a_timeout_of_the_drivers_own_is_a_dropped_line(self):
        with pytest.raises(DisconnectedError, match="port"):
            call(Line("bell", Bell(TimeoutError("port")), WallClock()))


class TestModelledTime:
    def test_a_call_that_spent_too_much_came_too_late(self):
        clock = VirtualClock()
        with pytest.raises(DeviceTimeoutError, match=r"did not end within 5 s"):
            call(Line("bell", Bell(lambda: clock.spend(6.0)), clock))

    def test_one_that_spent_less_is_in_time(self):
        clock = VirtualClock()
        assert call(Line("bell", Bell(lambda: clock.spend(4.0)), clock)) == "ring"


@pytest.mark.parametrize("wrong", [{"snap_s": 0.0}, {"xy_move_s": -1.0}, {"lamp_s": float("nan")}, {"repeats": -1}])
def test_patience_that_cannot_be_is_refused(wrong):
    with pytest.raises(SettingsError):
        Patience(**wrong)
