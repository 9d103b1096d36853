"""Calls that share a board wait for their turn; that is not their own time, and what was given up does not begin."""

import threading
import time

import pytest

from parfocal.devices.line import Line
from parfocal.devices.turn import check_wanted, turn
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import DeviceTimeoutError, InstrumentError


class Sharing:
    """A stage on a board that another one may be using."""

    def __init__(self):
        self.board = threading.Lock()
        self.moved = 0
        self.stopped = threading.Event()

    def move(self, wait_s=5.0):
        with turn(self.board, wait_s, "board"):
            self.moved += 1

    def move_for_ever(self):
        try:
            while True:
                time.sleep(0.01)
                check_wanted()
        except DeviceTimeoutError:
            self.stopped.set()
            raise


def test_waiting_for_another_move_does_not_use_up_the_time_of_a_call():
    stage = Sharing()
    stage.board.acquire()
    threading.Timer(0.4, stage.board.release).start()
    Line("z stage", stage, WallClock()).call("move", Sharing.move, 0.1)
    assert stage.moved == 1


def test_a_turn_that_does_not_come_is_an_error_and_nothing_begins():
    stage = Sharing()
    with stage.board, pytest.raises(InstrumentError, match=r"board: another move did not end within 0\.1 s"):
        stage.move(0.1)
    assert stage.moved == 0


def test_a_call_that_was_given_up_is_told_so():
    stage = Sharing()
    with pytest.raises(DeviceTimeoutError, match=r"did not end within 0\.1 s"):
        Line("z stage", stage, WallClock()).call("move", Sharing.move_for_ever, 0.1)
    assert stage.stopped.wait(2.0)


def test_a_queued_call_that_was_given_up_does_not_begin(monkeypatch):
    stage = Sharing()
    monkeypatch.setattr("parfocal.devices.line._result", give_up)
    with stage.board, pytest.raises(KeyboardInterrupt):
        Line("z stage", stage, WallClock()).call("move", Sharing.move, 5.0)
    time.sleep(0.2)
    assert stage.moved == 0


def give_up(*_):
    time.sleep(0.1)
    raise KeyboardInterrupt
