"""Every driver is asked what is connected; one that cannot look says so and keeps nobody else from it."""

import json
import tomllib
from dataclasses import replace

import pytest

from parfocal.config import connected
from parfocal.config.connected import as_toml, look_for_devices
from parfocal.devices.driver import BUILT_IN, Driver, DriverSettings, Found
from parfocal.errors import InstrumentError, SettingsError

BOARD = Found("board", "/dev/ttyUSB7", "a board", {"port": "/dev/ttyUSB7", "baud": 115200, "axes": ["x", "y"]})


def _silent():
    raise InstrumentError("/dev/ttyUSB8: no permission")


DRIVERS = {
    "board": Driver("board", "boards", frozenset({"xy", "z"}), DriverSettings, None, lambda: [BOARD]),
    "shy": Driver("shy", "shy ones", frozenset({"lamp"}), DriverSettings, None, _silent),
}


def _named(name):
    if name not in DRIVERS:
        raise SettingsError(f"driver {name!r} cannot be imported: No module named 'harvesters'")
    return DRIVERS[name]


@pytest.fixture
def three_drivers(monkeypatch):
    monkeypatch.setattr(connected, "driver_names", lambda: ["board", "absent", "shy"])
    monkeypatch.setattr(connected, "driver_named", _named)


def test_what_is_found_comes_with_the_table_that_opens_it(three_drivers):
    board, absent, shy = look_for_devices()
    assert board.found == (BOARD,)
    assert tomllib.loads(as_toml(BOARD)) == {"devices": {"board": {"driver": "board", **BOARD.settings}}}
    assert (absent.found, absent.trouble) == ((), "driver 'absent' cannot be imported: No module named 'harvesters'")
    assert (shy.found, shy.trouble) == ((), "/dev/ttyUSB8: no permission")


def test_what_only_its_owner_can_tell_stands_there_as_a_comment():
    table = as_toml(Found("grbl", "/dev/ttyUSB7", "a board", {"port": "/dev/ttyUSB7"}))
    assert tomllib.loads(table) == {"devices": {"grbl": {"driver": "grbl", "port": "/dev/ttyUSB7"}}}
    assert "# z_limits_um = …" in table.splitlines()


def test_one_that_is_unplugged_while_it_is_looked_at_spoils_no_other(three_drivers, monkeypatch):
    def unplugged():
        raise FileNotFoundError("/sys/class/video4linux/video0/index")

    monkeypatch.setitem(DRIVERS, "shy", replace(DRIVERS["shy"], find=unplugged))
    board, _, shy = look_for_devices()
    assert board.found == (BOARD,)
    assert "video0" in shy.trouble


def test_the_command_prints_tables_and_troubles(three_drivers, parfocal):
    code, out, _ = parfocal("devices")
    assert code == 0
    assert '# a board, at /dev/ttyUSB7\n[devices.board]\ndriver = "board"\nport = "/dev/ttyUSB7"' in out
    assert "shy: /dev/ttyUSB8: no permission" in out


def test_as_json_it_names_devices_and_drivers(three_drivers, parfocal):
    _, out, _ = parfocal("devices", "--json")
    told = json.loads(out)
    assert [(one["driver"], one["address"]) for one in told["devices"]] == [("board", "/dev/ttyUSB7")]
    assert told["devices"][0]["toml"] == as_toml(BOARD)
    assert [one["driver"] for one in told["drivers"]] == ["board", "absent", "shy"]
    assert told["drivers"][0]["roles"] == ["xy", "z"]


def test_all_built_in_drivers_can_be_asked_here():
    assert {looked.driver for looked in look_for_devices()} >= set(BUILT_IN)
