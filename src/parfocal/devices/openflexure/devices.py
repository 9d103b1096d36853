"""Motors and lamp of an OpenFlexure server."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from parfocal.devices.openflexure.versions import Api
from parfocal.devices.stepped import AXES, AxisName, Steps
from parfocal.errors import DisconnectedError, InstrumentError


class ServerMotors:
    """The three motors behind a server, which does not move two at the same time for two people.

    Args:
        api: of the server.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._stands = api.position()
        self._lost = ""

    @property
    def stands(self) -> Steps:
        """Where they stood when that was last read: after opening and every move."""
        return self._stands

    def stands_at(self, target: Mapping[AxisName, int]) -> bool:
        """Whether the named axes are known to stand at these steps, so that no move is needed."""
        stands = dict(zip(AXES, self._stands, strict=True))
        return all(stands[axis] == steps for axis, steps in target.items())

    def check_position_known(self) -> None:
        """Raise DisconnectedError if they may stand elsewhere."""
        if self._lost:
            raise DisconnectedError(f"{self._lost}; where the stage really is has to be found out: open it again")

    def move(self, target: Mapping[AxisName, int]) -> None:
        """Drive the named axes to these steps, and return when they stand there. Raises InstrumentError."""
        with self._lock:
            self.check_position_known()
            try:
                self._api.move(target)
                found = self._api.position()
            except InstrumentError as error:
                self._lost = str(error)
                raise DisconnectedError(self._lost) from error
            wanted = tuple(target.get(axis, stands) for axis, stands in zip(AXES, self._stands, strict=True))
            if found != wanted:
                self._lost = f"the server's stage stands at {found} steps, it was sent to {wanted}"
                self.check_position_known()
            self._stands = found

    def home(self, axes: str) -> None:
        """Raises InstrumentError: the stage has no home switches."""
        raise InstrumentError(f"an OpenFlexure stage has no home switches for {', '.join(axes)}")


class ServerLamp:
    """The lamp behind a server.

    Args:
        api: of the server.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """What it was told last."""
        return self._is_on

    def on(self) -> None:
        """Light it. Raises InstrumentError if the server does not."""
        self._is_on = True
        self._api.light(True)

    def off(self) -> None:
        """Put it out. Raises InstrumentError if it may still be lit."""
        try:
            self._api.light(False)
        except InstrumentError as error:
            raise InstrumentError(f"the lamp may still be lit: {error}") from error
        self._is_on = False
