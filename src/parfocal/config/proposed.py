"""An instrument's file before and while it is set up: what is proposed, and directions as they are found."""

from __future__ import annotations

from typing import Any

from parfocal.devices.driver import driver_named

Values = dict[str, Any]


def proposed_values(name: str, values: Values) -> Values:
    """A new instrument's file, before anything was measured; what `values` say already is kept."""
    proposals: Values = {
        "name": name,
        "kind": "devices",
        "objective": {"magnification": 20.0, "na": 0.75},
        "camera": {"frame_shape": [1024, 1224], "pixel_size_um": 0.345, "sensor_pixel_um": 3.45},
        "approach": {"delta_um": 2.0, "backlash_um": 20.0, "take_up_um": 22.0, "start_below_um": 1.0},
        "focus": {"return_within_um": 2.0, "peak_tolerance_um": 0.25},
        "z": {"lowest_um": -100.0, "highest_um": 100.0},
        "sweep": {"lowest_um": -40.0, "highest_um": 40.0, "step_um": 2.0},
        "xy": {"backlash_um": [80.0, 80.0], "neighbour_error_um": 4.0},
    }
    kept = {key: {**old, **values.get(key, {})} for key, old in proposals.items() if isinstance(old, dict)}
    return {**proposals, **values, **kept}


def with_limits(values: Values, lowest_um: float, highest_um: float) -> Values:
    """The file with limits of z, its sweep and the take-up below it shortened to what they leave.

    Args:
        values: the file's.
        lowest_um: lowest z in µm.
        highest_um: highest z in µm.
    """
    sweep = dict(values["sweep"])
    sweep["lowest_um"] = max(sweep["lowest_um"], lowest_um + values["approach"]["take_up_um"])
    sweep["highest_um"] = min(sweep["highest_um"], highest_um)
    limits = {**values["z"], "lowest_um": lowest_um, "highest_um": highest_um}
    return {**values, "z": limits, "sweep": sweep}


def with_directions(values: Values, invert: tuple[str, ...], *, swap_xy: bool) -> Values:
    """The file with directions of x and y in the table that gives the x-y stage; z's stay.

    Args:
        values: the file's.
        invert: of "x" and "y", those that run the other way.
        swap_xy: whether the device's x moves what we call y.
    """

    def turned(table: Values) -> Values:
        kept = [axis for axis in table.get("invert", []) if axis == "z"]
        return {**table, "invert": [*invert, *kept], "swap_xy": swap_xy}

    return _changed(values, "xy", turned)


def with_z_turned(values: Values) -> Values:
    """The file with z running the other way than it said."""

    def turned(table: Values) -> Values:
        return {**table, "invert": sorted(set(table.get("invert", [])) ^ {"z"})}

    return _changed(values, "z", turned)


def _changed(values: Values, role: str, change: Any) -> Values:
    """Values with the table of whatever gives a role changed."""
    tables = values.get("devices", {})
    gives = {
        name for name, table in tables.items() if role in (table.get("roles") or driver_named(table["driver"]).roles)
    }
    return {**values, "devices": {name: change(table) if name in gives else table for name, table in tables.items()}}
