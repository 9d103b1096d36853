"""Why a scan cannot be gone on with as it began: what has changed since, and what no longer fits."""

from __future__ import annotations

from typing import Any

from parfocal import __version__
from parfocal.api.scanning import plan_of, reach_um, with_network
from parfocal.config import Instrument
from parfocal.config.origin import changes
from parfocal.errors import SettingsError
from parfocal.focus.predictor import Predictor
from parfocal.scan.plan import ScanPlan
from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import digest_of


def refuse_what_does_not_fit(fields: FieldsFolder, plan: ScanPlan, instrument: Instrument) -> None:
    """What nobody can accept.

    Raises:
        SettingsError: if the instrument's frames make no slide with those of the folder, or fields lie beyond its
            stage.
    """
    header, camera = fields.header, instrument.microscope.camera
    for what, then, now in (
        ("frame shape", tuple(header.frame_shape), tuple(camera.frame_shape)),
        ("pixel size in µm", header.pixel_size_um, camera.pixel_size_um),
    ):
        if then != now:
            raise SettingsError(
                f"{fields.path}: its {what} was {then!r}, and is {now!r}: the frames make no slide together. Scan "
                "anew, into another folder"
            )
    for axis, (lowest_um, highest_um), fields_um in zip(
        "xy",
        reach_um(instrument),
        ([planned.x_um for planned in plan], [planned.y_um for planned in plan]),
        strict=True,
    ):
        if fields_um and not lowest_um <= min(fields_um) <= max(fields_um) <= highest_um:
            raise SettingsError(
                f"{fields.path}: its fields lie from {min(fields_um):.0f} to {max(fields_um):.0f} µm in {axis}; the "
                f"stage reaches from {lowest_um:.0f} to {highest_um:.0f} µm"
            )


def changes_since(fields: FieldsFolder, plan: ScanPlan, instrument: Instrument, predictor: Predictor) -> list[str]:
    """What is not as it was when the scan began, in words."""
    header, microscope = fields.header, instrument.microscope
    found = [
        f"its {what} was {then!r}, and is {now!r}"
        for what, then, now in (
            ("instrument", header.microscope, microscope.name),
            ("version of Parfocal", header.version, __version__),
            ("specimen", header.specimen, instrument.specimen),
            ("seed", header.seed, instrument.seed),
            ("magnification", header.magnification, microscope.objective.magnification),
            ("numerical aperture", header.na, microscope.objective.na),
        )
        if then != now
    ]
    origin = with_network(instrument.origin, predictor)
    if header.origin is not None and origin is not None:
        found += changes(header.origin, origin)
    area_mm = header.settings.get("area_mm", [0, 0])
    settings = {"area_mm": area_mm, **instrument.settings.to_json()}
    if not fields.is_intact:
        found.append("its header, the settings among it, was changed since")
    elif digest_of(settings) != digest_of(header.settings):
        found.append(f"the setting {_first_difference(header.settings, settings)} is another")
    elif plan != plan_of(instrument, (area_mm[0], area_mm[1])):
        found.append("the plan of its fields would be another")
    return found


def refusal(fields: FieldsFolder, found: list[str]) -> SettingsError:
    """The error that says what has changed."""
    return SettingsError(
        f"{fields.path}: cannot be gone on with as it began: {'; '.join(found)}. "
        "Undo that; parfocal scan --resume --accept-changes goes on all the same"
    )


def _first_difference(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    for name in sorted(then.keys() | now.keys()):
        one, other = then.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            if digest_of(one) != digest_of(other):
                return _first_difference(one, other, f"{prefix}{name}.")
        elif digest_of({"": one}) != digest_of({"": other}):
            return f"{prefix}{name} ({one!r}, now {other!r})"
    return prefix.rstrip(".")
