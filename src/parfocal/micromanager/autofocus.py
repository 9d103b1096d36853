"""Our autofocus as a step of an acquisition: an engine for pymmcore-plus that focuses where the plan says so.

Steps of a `useq` plan's autofocus_plan, and custom actions of the name `parfocal-autofocus`, bring the field under the
lens into focus by pairs of frames (paper, section 4.3). What the plan asks for afterwards at that place is moved in z
by as much as the focus lay beside the plan's z.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pymmcore_plus import CMMCorePlus
from pymmcore_plus.mda import MDAEngine
from pymmcore_plus.metadata import SummaryMetaV1
from useq import CustomAction, HardwareAutofocus, MDAEvent, MDASequence

from parfocal.config import Instrument
from parfocal.config.assembled import assembled_instrument
from parfocal.config.tables import folder_of, read_instrument_file
from parfocal.devices.approach import GuardedZ
from parfocal.devices.axes import InvertedZ
from parfocal.devices.base import ZStage
from parfocal.devices.driver import Asked, Devices, Driver, driver_named
from parfocal.devices.micromanager.driver import DRIVER, devices_of
from parfocal.devices.micromanager.settings import MicroManagerSettings
from parfocal.devices.micromanager.stages import ZStageOfCore
from parfocal.errors import SettingsError
from parfocal.focus.controller import focus_field
from parfocal.focus.predictor import Predictor
from parfocal.focus.result import FocusResult

ACTION = "parfocal-autofocus"
"""Name of the custom action that is the same step."""

_log = logging.getLogger(__name__)


def instrument_on(core: CMMCorePlus, name: str) -> Instrument:
    """An instrument whose devices are those of a core that has its configuration already.

    Args:
        core: the core; it is not closed with the instrument.
        name: path of a TOML file with the driver micromanager; its `configuration` is not loaded.

    Raises:
        FileError: if the file cannot be read.
        SettingsError: if a setting is wrong, or the core lacks a device.
        InstrumentError: if a device does not answer.
    """
    file = read_instrument_file(name)
    if file.kind != "devices":
        raise SettingsError(f'instrument {name} is {file.kind}: an autofocus needs kind = "devices"')

    def on_core(settings: MicroManagerSettings, asked: Asked) -> Devices:
        return devices_of(core, settings, asked)

    def find_driver(driver: str) -> Driver[Any]:
        return replace(DRIVER, open=on_core) if driver == DRIVER.name else driver_named(driver)

    microscope, close, _ = assembled_instrument(file, folder_of(name), find_driver)
    return Instrument(microscope, file.scan_settings(), None, "", 0, None, close=close)


class FocusingEngine(MDAEngine):
    """pymmcore-plus' engine with Parfocal's autofocus: `core.mda.set_engine(FocusingEngine(core, "mine.toml"))`.

    Events are run one by one: a stage that is moved by hardware sequence cannot be corrected in between.

    Args:
        core: the core that runs the acquisition.
        instrument: path of the instrument's TOML file (`instrument_on`), or the instrument.
        network: ONNX file; the one that comes with Parfocal if None.
        predictor: defocus from pairs, instead of a network.
        on_focus: called after each step with its event and what it came to.

    Raises:
        SettingsError: if the core focuses by another drive than the instrument does; else as `instrument_on`.
        FileError, InstrumentError: as `instrument_on`.
    """

    def __init__(
        self,
        core: CMMCorePlus,
        instrument: str | Path | Instrument,
        *,
        network: Path | None = None,
        predictor: Predictor | None = None,
        on_focus: Callable[[MDAEvent, FocusResult], None] = lambda _event, _result: None,
    ) -> None:
        super().__init__(core, use_hardware_sequencing=False)
        self._instrument = instrument if isinstance(instrument, Instrument) else instrument_on(core, str(instrument))
        self._predictor = predictor or self._instrument.predictor(network)
        self._on_focus = on_focus
        self._shift_um: dict[tuple[int | None, int | None], float] = {}
        self._label, self._direction = _drive(self._instrument.microscope.z, core.getFocusDevice())
        self._guarded_z()  # limits that leave no room are told of now
        self._check_drive()

    def setup_sequence(self, sequence: MDASequence) -> SummaryMetaV1 | None:
        """Begin an acquisition: what was found in the one before is forgotten."""
        self._check_drive()
        self._shift_um.clear()
        return super().setup_sequence(sequence)

    def setup_event(self, event: MDAEvent) -> None:
        """Move there, in z by as much beside the plan as the focus was found to lie.

        Raises:
            LimitError: if that z lies outside the instrument's limits; nothing has moved.
        """
        if event.z_pos is not None:
            z_um = event.z_pos + self._shift_um.get(_place(event), 0.0)
            self._guarded_z().check_reach(self._direction * z_um)
            event = event.replace(z_pos=z_um)
        super().setup_event(event)

    def exec_event(self, event: MDAEvent) -> Iterable[Any]:
        """Focus, where that is what the event asks for; expose otherwise."""
        if _asks_for_focus(event):
            self._focus(event)
            return
        yield from super().exec_event(event)

    def _focus(self, event: MDAEvent) -> None:
        microscope, z = self._instrument.microscope, self._guarded_z()
        pivot_um = z.position_um
        with self._lit():
            result = focus_field(microscope, z, self._predictor, pivot_um, self._instrument.settings.focus)
            z.start_field()
            if result.verdict == "focused":
                z.approach_from_below(result.z_um if result.focus_um is None else result.focus_um)
            else:
                _log.warning("no focus at %s: %s, %s; z stays as planned", event.index, result.verdict, result.reason)
                z.approach_from_below(pivot_um)
        if result.verdict == "focused" and event.z_pos is not None:
            self._shift_um[_place(event)] = self.mmcore.getPosition(self._label) - event.z_pos
        self._on_focus(event, result)

    def _guarded_z(self) -> GuardedZ:
        """A new guard: the plan moves z behind an old one, which would believe that the slack is closed."""
        microscope, settings = self._instrument.microscope, self._instrument.settings
        return GuardedZ(microscope.z, microscope.clock, settings.approach, settings.limits)

    def _check_drive(self) -> None:
        moved = self.mmcore.getFocusDevice()
        if moved != self._label:
            raise SettingsError(
                f"the acquisition moves z by {moved or 'no device'}, the instrument by {self._label}: make them one by "
                f"core.setFocusDevice({self._label!r})"
            )

    @contextmanager
    def _lit(self) -> Iterator[None]:
        """Light for the step: no shutter at each frame, and afterwards everything as it was."""
        core, lamp = self.mmcore, self._instrument.microscope.lamp
        automatic, was_on = core.getAutoShutter(), lamp.is_on
        core.setAutoShutter(False)
        try:
            lamp.on()
            yield
        finally:
            if not was_on:
                lamp.off()
            core.setAutoShutter(automatic)


def _drive(z: ZStage, focus_device: str) -> tuple[str, float]:
    """Label of a z stage's drive in the core, and 1, or −1 where the core counts the other way."""
    if isinstance(z, InvertedZ):
        label, direction = _drive(z.stage, focus_device)
        return label, -direction
    return (z.label, z.direction) if isinstance(z, ZStageOfCore) else (focus_device, 1.0)


def _asks_for_focus(event: MDAEvent) -> bool:
    action = event.action
    return isinstance(action, HardwareAutofocus) or (isinstance(action, CustomAction) and action.name == ACTION)


def _place(event: MDAEvent) -> tuple[int | None, int | None]:
    """Position and, where it is divided into a grid, field of it."""
    return event.index.get("p"), event.index.get("g")
