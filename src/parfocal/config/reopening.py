"""A device that dropped off, such as a camera whose plug was loose, is opened again while the instrument is in use.

Only what has no stage: opening a stage may move it, to home it, and one that lost power does not know its place. There
the scan stops, and resuming it finds the place again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from parfocal.devices.base import Camera, Lamp
from parfocal.devices.driver import Devices
from parfocal.errors import DisconnectedError, InstrumentError, SettingsError

_APPEARS_WITHIN_S = 10.0
_TRY_AGAIN_S = 0.5


class Reopenable:
    """Devices of one table of an instrument's file.

    Args:
        open_devices: opens them.

    Raises:
        SettingsError, InstrumentError: as `open_devices`.
    """

    def __init__(self, open_devices: Callable[[], Devices]) -> None:
        self._open = open_devices
        self.devices = open_devices()

    def close(self) -> None:
        """Let go of them, as they are now."""
        self.devices.close()

    def camera(self) -> Camera:
        """The camera, opened again with all of the table. Raises DisconnectedError if it does not appear in time."""
        self._open_again()
        assert self.devices.camera is not None  # as it was before
        return self.devices.camera

    def lamp(self) -> Lamp:
        """The lamp, likewise."""
        self._open_again()
        assert self.devices.lamp is not None
        return self.devices.lamp

    def _open_again(self) -> None:
        with suppress(InstrumentError, OSError):  # it is gone: what it says to that does not matter
            self.devices.close()
        until_s = time.monotonic() + _APPEARS_WITHIN_S
        while True:
            try:
                self.devices = self._open()
                return
            except (InstrumentError, SettingsError, OSError) as error:
                if time.monotonic() > until_s:
                    raise DisconnectedError(
                        f"it did not appear again within {_APPEARS_WITHIN_S:g} s: {error}"
                    ) from error
            time.sleep(_TRY_AGAIN_S)
