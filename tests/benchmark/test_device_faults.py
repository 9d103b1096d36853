"""Faults of devices: each is recovered from or told, and the benchmark would see it if it were not."""

import pytest

from parfocal.benchmark import device_faults, fault_outcome
from parfocal.benchmark.device_faults import device_cases, run_device_case
from parfocal.benchmark.painted import surface_um
from parfocal.errors import InstrumentError, LimitError

CASES = {(case.device, case.name): case for case in device_cases()}


def test_there_are_twelve_kinds_for_each_device_and_no_two_alike():
    assert len(CASES) == len(list(device_cases()))
    for device in ("camera", "xy", "z", "lamp"):
        assert sum(of == device for of, _ in CASES) >= 12


@pytest.mark.parametrize(
    ("device", "kind", "outcome", "said"),
    [
        ("camera", "black", "recovered", "0 of 15 fields in doubt"),
        ("z", "reset", "stopped", "no longer knows its place"),
        ("xy", "gone", "stopped", "cannot be opened again"),
        ("lamp", "drop-off-always", "stopped", "the lamp stays lit"),
    ],
)
def test_what_becomes_of_a_fault(tmp_path, device, kind, outcome, said):
    fault = run_device_case(CASES[device, kind], tmp_path / "fields")
    assert (fault.outcome, fault.lost, fault.out_of_limits, fault.lamp_left_on) == (outcome, 0, 0, False)
    assert said in fault.detail


def test_a_result_that_is_wrong_and_does_not_say_so_is_seen(tmp_path, monkeypatch):
    """The matrix judges by the truth, not by what the program says of itself."""
    monkeypatch.setattr(fault_outcome, "surface_um", lambda x_um, y_um: surface_um(x_um, y_um) + 3.0)
    fault = run_device_case(CASES["z", "delay"], tmp_path / "fields")
    assert fault.outcome == "unnoticed"
    assert "out of focus and called focused" in fault.detail


def test_a_move_beyond_the_limits_is_seen_though_the_stage_refuses_it(tmp_path, monkeypatch):
    def sent_beyond(bench, _microscope):
        with pytest.raises(LimitError):
            bench.xy.move_to(1e6, 0.0)
        with pytest.raises(LimitError):
            bench.z.move_to(1e6)
        raise InstrumentError("that is all")

    monkeypatch.setattr(device_faults._Bench, "watched", sent_beyond)
    assert run_device_case(CASES["camera", "raise"], tmp_path / "fields").out_of_limits == 2


def test_an_error_that_is_none_of_ours_is_a_traceback(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(device_faults._Bench, "watched", broken)
    fault = run_device_case(CASES["camera", "raise"], tmp_path / "fields")
    assert (fault.outcome, fault.detail) == ("traceback", "ZeroDivisionError: division by zero")
