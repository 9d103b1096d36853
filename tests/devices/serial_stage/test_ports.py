"""Ports behind which a board may be are found by their USB adapter, and not opened."""

from types import SimpleNamespace

import pytest

from parfocal.devices.driver import driver_named


class Port(SimpleNamespace):
    def __lt__(self, other):
        return self.device < other.device


PORTS = [
    Port(device="/dev/ttyUSB1", vid=0x1A86, pid=0x7523),
    Port(device="/dev/ttyACM0", vid=0x0483, pid=0x5740),
    Port(device="/dev/ttyACM1", vid=0x2E8A, pid=0x000A),
    Port(device="/dev/ttyUSB0", vid=0x1A86, pid=0x7523),
    Port(device="/dev/ttyS0", vid=None, pid=None),
    Port(device="/dev/ttyUSB2", vid=0x067B, pid=0x2303),
]


@pytest.mark.parametrize(
    ("driver", "ports"),
    [
        ("grbl", ["/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyS0", "/dev/ttyUSB2"]),
        ("marlin", ["/dev/ttyACM0"]),
        ("sangaboard", ["/dev/ttyACM1"]),
    ],
)
def test_each_driver_finds_the_ports_of_its_kind(monkeypatch, driver, ports):
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: PORTS)
    monkeypatch.setattr("serial.Serial", lambda *_: pytest.fail("a port was opened"))
    found = driver_named(driver).find()
    assert [one.settings for one in found] == [{"port": port} for port in ports]
    assert all(one.driver == driver and one.description for one in found)


def test_a_port_with_an_unknown_adapter_is_listed_once_with_what_to_try(monkeypatch):
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: PORTS)
    listed = [one for driver in ("grbl", "marlin", "sangaboard") for one in driver_named(driver).find()]
    unknown = {one.address: one.description for one in listed if one.description.startswith("unknown serial port")}
    assert unknown.keys() == {"/dev/ttyS0", "/dev/ttyUSB2"}
    assert "(USB 067b:2303)" in unknown["/dev/ttyUSB2"]
    assert "try the drivers grbl, marlin, sangaboard" in unknown["/dev/ttyS0"]
    assert len(listed) == len({one.address for one in listed}) == len(PORTS)
