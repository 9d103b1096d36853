"""What is connected to this computer, as far as the drivers can tell without moving anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from parfocal.devices.driver import Driver, Found, driver_named, driver_names
from parfocal.errors import InstrumentError, SettingsError


@dataclass(frozen=True)
class Looked:
    """What came of looking for devices with one driver.

    Attributes:
        driver: its name.
        summary: one line about it; empty if it could not be imported.
        roles: devices that it can give.
        found: what seems to be connected.
        trouble: why it could not look; empty if it could.
    """

    driver: str
    summary: str
    roles: tuple[str, ...]
    found: tuple[Found, ...]
    trouble: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without what was found."""
        return {"driver": self.driver, "summary": self.summary, "roles": list(self.roles), "trouble": self.trouble}


def look_for_devices() -> list[Looked]:
    """Ask every driver that is installed what of its kind is connected; one that cannot look says why."""
    return [_look(name) for name in driver_names()]


def _look(name: str) -> Looked:
    try:
        driver: Driver[Any] = driver_named(name)
    except SettingsError as error:
        return Looked(name, "", (), (), str(error))
    roles = tuple(sorted(driver.roles))
    try:
        return Looked(name, driver.summary, roles, tuple(driver.find()))
    except (InstrumentError, SettingsError, OSError) as error:  # OSError: unplugged while it was looked at
        return Looked(name, driver.summary, roles, (), str(error))


def as_toml(found: Found) -> str:
    """The table of an instrument's file that opens a device; what nobody but its owner can fill in is a comment."""
    lines = [f"[devices.{found.driver}]", f"driver = {json.dumps(found.driver)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in found.settings.items()]  # JSON's scalars are TOML's
    try:
        fields = driver_named(found.driver).settings.model_fields
    except SettingsError:  # of a driver that went away meanwhile
        fields = {}
    lines += [f"# {key} = …" for key, field in fields.items() if field.is_required() and key not in found.settings]
    return "\n".join(lines)
