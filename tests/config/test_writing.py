"""An instrument's file that was written is read as the same instrument."""

import tomllib

import pytest

from parfocal.config import instrument_names
from parfocal.config.tables import InstrumentFile, read_instrument_file
from parfocal.config.writing import instrument_text, toml_text
from parfocal.errors import SettingsError


@pytest.mark.parametrize("name", instrument_names())
def test_a_built_in_instrument_is_read_again_as_it_was(name):
    file = read_instrument_file(name)
    assert InstrumentFile.model_validate(tomllib.loads(instrument_text(file))) == file


def test_values_of_every_kind_come_back():
    values = {
        "text": 'with "quotes", \\ and µm',
        "number": -0.1,
        "large": 1e-9,
        "whole": 3,
        "yes": True,
        "nested": [[1.0, 2.0], ["a", "b"]],
        "table": {"inner": {"deep": {"x": 1}}, "flat": "y"},
        "only": {"tables": {"z": 2}},
    }
    assert tomllib.loads(toml_text(values)) == values


def test_nothing_is_written_for_none():
    assert toml_text({"a": None, "b": 1}) == "b = 1\n"


def test_what_toml_does_not_have_is_refused():
    with pytest.raises(SettingsError, match="kind object"):
        toml_text({"a": object()})
