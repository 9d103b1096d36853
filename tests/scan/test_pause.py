"""A scan waits between two fields, its lamp off, until it is told to go on or to end."""

from threading import Thread

import pytest

from parfocal.devices.simulated import SimulatedLamp
from parfocal.scan.pause import ScanSwitch

WITHIN_S = 10.0


@pytest.fixture
def lamp():
    lamp = SimulatedLamp()
    lamp.on()
    return lamp


def test_a_switch_that_nobody_touched_lets_the_scan_go_on_at_once(lamp):
    assert ScanSwitch().wait(lamp, pytest.fail) is True
    assert lamp.is_on


@pytest.mark.parametrize(
    ("end", "goes_on"), [(ScanSwitch.go_on, True), (ScanSwitch.toggle, True), (ScanSwitch.stop, False)]
)
def test_a_paused_scan_waits_with_the_lamp_off_until_another_thread_ends_that(lamp, end, goes_on):
    switch, seen = ScanSwitch(), []
    switch.pause()

    def look():
        seen.append(lamp.is_on)
        if len(seen) == 2:
            Thread(target=end, args=(switch,)).start()

    assert switch.wait(lamp, look) is goes_on
    assert not any(seen)
    assert lamp.is_on
    assert switch.is_stopped is not goes_on


def test_a_scan_that_was_paused_and_stopped_does_not_wait(lamp):
    switch = ScanSwitch()
    switch.toggle()
    switch.stop()
    assert switch.is_paused
    assert switch.wait(lamp, pytest.fail) is False
