"""A scan that can no longer put out its lamp has it put out: killed, hung, or refused by its lamp. Real processes."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from parfocal.config import open_lamp, open_microscope
from parfocal.devices.watched import watched
from parfocal.errors import InstrumentError
from parfocal.supervisor import __main__ as beside
from parfocal.supervisor import overseen as overseeing
from parfocal.supervisor.__main__ import put_out
from parfocal.supervisor.overseen import Supervisor, overseen

PATIENCE_S = 30.0  # how soon it is dark, `parfocal benchmark faults` measures
HANGS_AFTER_S = 1.0
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

SCAN = f"""
import os, sys, time
from parfocal.config import open_microscope
from parfocal.supervisor.overseen import overseen

name, what = sys.argv[1:]
with open_microscope(name, "blood-smear") as instrument, overseen(instrument, hangs_after_s={HANGS_AFTER_S}) as seen:
    if what == "fork" and os.fork() == 0:
        os.close(1), os.close(2)
        time.sleep(20)
        os._exit(0)
    seen.microscope.lamp.on()
    print("lit", flush=True)
    if what == "hang":
        time.sleep(60)
    for _ in range(60 if what == "end" else 10000):
        seen.microscope.z.position_um
        time.sleep(0.05)
    seen.microscope.lamp.off()
"""


@pytest.fixture
def name(small_toml, tmp_path):
    """An instrument whose lamp outlives the process that lit it."""
    return small_toml("[simulated]", f'[simulated]\nlamp_file = "{(tmp_path / "lamp").as_posix()}"')


@pytest.fixture
def scanning(name):
    """Start a scan in a process of its own, and return when its lamp is lit."""
    started = []

    def start(what="scan"):
        process = subprocess.Popen(
            [sys.executable, "-c", SCAN, name, what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "lit\n"
        assert is_lit(name)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def is_lit(name):
    with open_lamp(name) as lamp:
        return lamp.is_on


def no_memory(*_, **__):
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def goes_dark(name):
    patience_s = time.monotonic() + PATIENCE_S
    while is_lit(name) and time.monotonic() < patience_s:
        time.sleep(0.02)
    return not is_lit(name)


@posix
def test_a_killed_scan_has_its_lamp_put_out_and_is_told_so(scanning, name):
    scan = scanning()
    scan.kill()
    assert goes_dark(name)
    assert scan.communicate()[1] == "parfocal: the scan ended with its lamp lit: it is off now\n"


@posix
@pytest.mark.slow
def test_a_child_of_the_scan_that_outlives_it_does_not_hide_its_end(scanning, name):
    scan = scanning("fork")
    scan.kill()
    assert goes_dark(name)


@posix
def test_a_scan_that_hangs_with_its_lamp_lit_is_ended_first(scanning, name):
    scan = scanning("hang")
    assert goes_dark(name)
    assert scan.wait(timeout=PATIENCE_S) == -signal.SIGKILL
    assert "no sign of life for 1 s" in scan.communicate()[1]


@posix
@pytest.mark.slow
def test_a_scan_that_calls_its_devices_is_left_alone_however_long_it_takes(scanning, name):
    scan = scanning("end")  # three times as long as a scan may be silent
    assert scan.wait(timeout=20) == 0
    assert not is_lit(name)
    assert scan.communicate()[1] == ""


@posix
def test_ctrl_c_and_a_signal_to_the_group_do_not_reach_the_supervisor(scanning, name):
    scan = scanning()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        os.killpg(scan.pid, number)
    assert goes_dark(name)


class TestInOneProcess:
    @pytest.fixture
    def instrument(self, name):
        with open_microscope(name, "blood-smear") as instrument:
            yield instrument

    def test_it_ends_with_the_scan(self, instrument):
        with overseen(instrument) as seen:
            assert seen.microscope is not instrument.microscope
            seen.microscope.lamp.on()
            seen.microscope.lamp.off()
        assert not instrument.microscope.lamp.is_on

    def test_a_lamp_that_was_left_lit_is_put_out(self, instrument, name):
        instrument.microscope.lamp.off = lambda: None
        with overseen(instrument) as seen:
            seen.microscope.lamp.on()
            with pytest.raises(InstrumentError, match="stays lit"):
                seen.microscope.lamp.off()
        assert not is_lit(name)

    @posix
    @pytest.mark.slow
    def test_one_that_was_killed_is_started_again_and_knows_that_the_lamp_is_lit(self, instrument, name):
        supervisor = Supervisor(name, 60.0)
        first = supervisor.pid
        instrument.microscope.lamp.on()
        supervisor.lamp_told(True)
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        supervisor.lamp_told(True)
        assert supervisor.pid != first
        supervisor.dismiss()
        assert not is_lit(name)

    @posix
    @pytest.mark.parametrize("why", ["goes no further", "cannot be started: Cannot allocate memory"])
    def test_where_there_can_be_none_every_call_ends_but_the_lamp_is_put_out(self, instrument, name, monkeypatch, why):
        monkeypatch.setattr(overseeing, "_BEAT_EVERY_S", 0.0)
        supervisor = Supervisor(name, 60.0)
        lamp = watched(instrument.microscope, beat=supervisor.beat, lamp_told=supervisor.lamp_told).lamp
        os.kill(supervisor.pid, signal.SIGKILL)
        os.waitid(os.P_PID, supervisor.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(overseeing, "_STARTS_AT_MOST", 1 if "further" in why else 2)
        monkeypatch.setattr(subprocess, "Popen", no_memory)
        for _ in range(3):
            with pytest.raises(InstrumentError, match=why):
                assert lamp.is_on
        with pytest.raises(InstrumentError, match=why):
            lamp.on()
        instrument.microscope.lamp.on()
        lamp.off()
        assert not is_lit(name)
        supervisor.dismiss()

    def test_where_the_lamp_ends_with_the_process_none_is_started(self, instrument, monkeypatch):
        monkeypatch.setattr(subprocess, "Popen", None)
        with overseen(replace(instrument, lamp_name=None)) as seen:
            seen.microscope.lamp.on()
            assert instrument.microscope.lamp.is_on


class TestPuttingOut:
    def test_it_tries_again_while_the_port_is_not_free(self, name):
        tries = []

        def open_busy():
            tries.append(name)
            if len(tries) < 3:
                raise InstrumentError("the port is busy")
            return open_lamp(name)

        put_out(open_busy, 10.0)
        assert len(tries) == 3
        assert not is_lit(name)

    def test_and_says_why_it_gave_up(self, name):
        with pytest.raises(TimeoutError, match="unknown microscope"):
            put_out(lambda: open_lamp("nothing"), 0.0)

    @pytest.mark.parametrize("trouble", ["hangs", "error of its own"])
    def test_a_driver_that_hangs_or_fails_in_its_own_way_is_tried_again(self, name, monkeypatch, trouble):
        monkeypatch.setattr(beside, "_ANSWERS_WITHIN_S", 0.2)
        tries, let_go = [], threading.Event()

        def open_trouble():
            tries.append(name)
            if len(tries) == 1 and trouble == "hangs":
                let_go.wait(10.0)
            if len(tries) == 1:
                raise RuntimeError("a driver's own")
            return open_lamp(name)

        put_out(open_trouble, 10.0)
        let_go.set()
        assert len(tries) == 2
        assert not is_lit(name)

    def test_one_that_hangs_is_given_up_in_the_end(self, monkeypatch):
        monkeypatch.setattr(beside, "_ANSWERS_WITHIN_S", 0.05)
        let_go = threading.Event()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
            put_out(lambda: let_go.wait(10.0), 0.0)
        let_go.set()
