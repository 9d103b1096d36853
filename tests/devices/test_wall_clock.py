"""The clock of a real instrument."""

import threading

import pytest
from contract import ClockContract

from parfocal.devices.wall_clock import WallClock


class TestWallClock(ClockContract):
    @pytest.fixture
    def clock(self):
        return WallClock()


def test_what_is_done_together_is_done_at_the_same_time():
    meeting = threading.Barrier(3, timeout=10)
    WallClock().together(meeting.wait, meeting.wait, meeting.wait)
