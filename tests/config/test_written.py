"""Instruments' files are written so that they read back the same, and never in a state that cannot work."""

import tomllib

import pytest

from parfocal.config.proposed import proposed_values, with_directions, with_z_turned
from parfocal.config.tables import read_instrument_file
from parfocal.config.written import as_toml, read_values, write_values
from parfocal.errors import FileError, SettingsError

VALUES = {
    "name": "mine",
    "number": 3,
    "share": 0.25,
    "is_on": True,
    "pairs": [[1.0, -2.0], [3, 4]],
    "devices": {
        "stage": {"driver": "grbl", "port": 'COM"3"', "empty": {}},
        "µ": {"properties": {"Cam era": {"Exposure": "1 µm"}}},
    },
}


def test_nested_tables_read_back_the_same():
    assert tomllib.loads(as_toml(VALUES)) == VALUES


def test_a_proposed_instrument_is_one_once_it_has_devices(tmp_path):
    path = tmp_path / "mine.toml"
    values = {**proposed_values("mine", {}), "devices": {"lamp": {"driver": "always-on"}}}
    write_values(path, values)
    assert read_values(path) == values
    assert read_instrument_file(str(path)).name == "mine"


def test_what_the_file_says_already_is_kept():
    values = proposed_values("mine", {"name": "old", "camera": {"pixel_size_um": 0.2}, "scan": {"everywhere": True}})
    assert values["name"] == "old"
    assert values["camera"]["pixel_size_um"] == 0.2
    assert values["camera"]["sensor_pixel_um"] == 3.45
    assert values["scan"] == {"everywhere": True}


def test_what_could_not_work_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "mine.toml"
    values = {**proposed_values("mine", {}), "devices": {"lamp": {"driver": "always-on"}}}
    write_values(path, values)
    for wrong in ({**values, "objective": {"magnification": -20.0, "na": 0.75}}, {**values, "z": {"lowest_um": -1.0}}):
        with pytest.raises(SettingsError, match=r"mine\.toml"):
            write_values(path, wrong)
    with pytest.raises(SettingsError, match="outside the limits"):
        write_values(path, {**values, "z": {"lowest_um": -10.0, "highest_um": 10.0}})
    assert read_values(path) == values
    with pytest.raises(FileError, match="cannot be read"):
        read_values(tmp_path)


def test_directions_go_to_the_table_that_gives_the_stage():
    tables = {
        "board": {"driver": "grbl", "roles": ["xy"], "invert": ["y"]},
        "focus": {"driver": "sangaboard", "roles": ["z"]},
        "camera": {"driver": "uvc"},
    }
    turned = with_z_turned(with_directions({"devices": tables}, ("x",), swap_xy=True))["devices"]
    assert turned["board"] == {"driver": "grbl", "roles": ["xy"], "invert": ["x"], "swap_xy": True}
    assert turned["focus"]["invert"] == ["z"]
    assert turned["camera"] == {"driver": "uvc"}
    assert with_z_turned({"devices": turned})["devices"]["focus"]["invert"] == []
