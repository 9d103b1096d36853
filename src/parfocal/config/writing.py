"""An instrument as the text of its TOML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from parfocal.config.tables import InstrumentFile
from parfocal.errors import SettingsError


def instrument_text(file: InstrumentFile) -> str:
    """What an instrument's file says, with everything that was not left to its default.

    Args:
        file: the instrument.

    Returns:
        TOML that `read_instrument_file` reads as the same.
    """
    return toml_text(file.model_dump(mode="json", exclude_unset=True))


def toml_text(values: Mapping[str, Any], place: str = "") -> str:
    """Values as TOML: plain ones first, then a table for each mapping. None is left out.

    Raises:
        SettingsError: if a value is of a kind that TOML does not have.
    """
    plain = {name: value for name, value in values.items() if value is not None and not isinstance(value, Mapping)}
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{name} = {_value(value)}" for name, value in plain.items()]
    text = "\n".join([*([f"[{place}]"] if place and lines else []), *lines])
    inner = [toml_text(value, f"{place}.{name}" if place else name) for name, value in tables.items()]
    return "\n\n".join(part.strip() for part in (text, *inner) if part.strip()) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise SettingsError(f"a value of the kind {type(value).__name__} cannot be written as TOML")
