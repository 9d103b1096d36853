"""Work is done in order by one thread; who gives it waits only while too much of it waits."""

import threading

import pytest

from parfocal.slide.fields.writer_thread import WriterThread


@pytest.fixture
def gate():
    """A thread whose first piece of work waits until the gate is opened."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_work_is_done_in_the_order_in_which_it_was_given_heavy_or_light():
    done, thread = [], WriterThread(2, 100)
    for number in range(20):
        give = thread.give if number % 3 == 0 else thread.give_light
        give(lambda number=number: done.append(number))
    thread.settle()
    thread.stop()
    assert done == list(range(20))


def test_no_more_than_its_depth_waits_whatever_the_disk_does(gate):
    thread, given = WriterThread(3, 100), []
    thread.give(gate.wait)

    def give_many():
        for number in range(10):
            thread.give(lambda: None)
            given.append(number)

    giver = threading.Thread(target=give_many)
    giver.start()
    giver.join(0.3)
    assert giver.is_alive()
    assert len(given) == 2
    gate.set()
    giver.join(10)
    assert len(given) == 10
    thread.stop()


def test_it_tells_whether_there_is_room_before_anybody_waits(gate):
    thread = WriterThread(2, 100)
    thread.give(gate.wait)
    assert thread.has_room
    thread.give(lambda: None)
    assert not thread.has_room
    gate.set()
    thread.settle(1)
    assert thread.has_room
    thread.stop()


def fail():
    raise OSError("no space left")


def test_after_a_failure_nothing_more_is_done_and_it_is_told_once():
    done, thread = [], WriterThread(8, 8)
    thread.give(fail)
    thread.give_light(lambda: done.append(1))
    with pytest.raises(OSError, match="no space"):
        thread.settle()
    thread.give(lambda: done.append(2))
    thread.settle()
    thread.stop()
    assert done == []


def test_a_failure_of_light_work_is_told_when_heavy_work_is_given_and_not_amid_light_work():
    thread, entered = WriterThread(8, 8), threading.Event()
    thread.give_light(fail)
    thread.give_light(entered.set)
    thread.stop()
    assert not entered.is_set()
    with pytest.raises(OSError, match="no space"):
        thread.settle()
