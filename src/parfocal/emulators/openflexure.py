"""An emulated OpenFlexure server, version 2 or 3, on the loopback interface only; from the published APIs."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from parfocal.emulators.firmware import Motors, Steps
from parfocal.emulators.sangaboard import STEP_DELAY_US, UM_PER_STEP
from parfocal.emulators.stand import Stand
from parfocal.emulators.web_camera import Answering, LoopbackServer, encoded

_NOT_FOUND = 404
_CREATED = 201


@dataclass
class _Action:
    """Something under way.

    Attributes:
        name: what it is.
        is_done: whether it has ended.
        output: what came of it.
        status: how it ended; empty before.
    """

    name: str
    is_done: Callable[[], bool]
    output: Any = None
    status: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class OpenFlexureState:
    """Stage, camera and lamp as the server sees them.

    Args:
        stand: what it moves.
        pixel_size_um: of its pictures, which its camera-stage mapping comes from.
        is_mapped: whether that was calibrated.
    """

    def __init__(self, stand: Stand, pixel_size_um: float, *, is_mapped: bool = True) -> None:
        rate = 1e6 / STEP_DELAY_US
        self.stand = stand
        self.motors = Motors(stand, UM_PER_STEP, (rate, rate, rate))
        self.actions: dict[str, _Action] = {}
        self.blobs: dict[str, bytes] = {}
        self.is_mapped = is_mapped
        self.fail_moves = 0
        self._steps_per_px = pixel_size_um / UM_PER_STEP[0]
        self._lock = threading.Lock()

    def position(self) -> dict[str, int]:
        """In steps."""
        return dict(zip("xyz", self.motors.steps, strict=True))

    def move(self, values: dict[str, Any], *, absolute: bool) -> _Action:
        """Begin a move; one that leaves the mechanics, or that is to fail, ends half way."""
        now = self.position()
        target = [int(values.get(axis, 0 if not absolute else now[axis])) for axis in "xyz"]
        if not absolute:
            target = [steps + now[axis] for steps, axis in zip(target, "xyz", strict=True)]
        steps: Steps = (target[0], target[1], target[2])
        action = _Action("move", lambda: not self.stand.is_moving)
        with self._lock:
            if self.fail_moves > 0 or not self.stand.fits(self.motors.place(steps)):
                self.fail_moves -= 1
                action.status, action.output = "error", "Could not move the stage"
            else:
                self.motors.go(steps)
        return self.keep(action)

    def grab(self) -> _Action:
        """A picture, kept as a blob."""
        blob = str(uuid.uuid4())
        with self._lock:
            self.blobs = dict(list(self.blobs.items())[-4:]) | {blob: self.picture()}
        return self.keep(_Action("grab_jpeg", lambda: True, {"href": f"/blob/{blob}", "media_type": "image/jpeg"}))

    def led(self, is_on: bool) -> _Action:
        """Switch the lamp."""
        self.stand.switch(is_on)
        return self.keep(_Action("set_led", lambda: True))

    def keep(self, action: _Action) -> _Action:
        """Remember an action, and forget old ones."""
        self.actions = dict(list(self.actions.items())[-50:]) | {action.id: action}
        return action

    def picture(self) -> bytes:
        """A JPEG file."""
        with self.stand.at_work():
            return encoded(self.stand.snap(), ".jpg")

    def matrix(self) -> list[list[float]] | None:
        """Camera-stage mapping: rows are image y and x in pixels, columns stage x and y in steps."""
        return [[0.0, self._steps_per_px], [self._steps_per_px, 0.0]] if self.is_mapped else None

    def resolution(self) -> list[int]:
        """(Y, X) of its pictures."""
        return list(self.stand.microscope.camera.frame_shape)


class _Server(Answering):
    state: OpenFlexureState
    prefix: str

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        """Properties, pictures, actions."""
        path = self.path.partition("?")[0].rstrip("/")
        if path.startswith("/blob/") and (blob := self.state.blobs.get(path.removeprefix("/blob/"))):
            self.answer(blob, "image/jpeg")
        elif action := self.state.actions.get(path.rpartition("/")[2]):
            self._say(self._described(action))
        else:
            self._get(path)

    def do_POST(self) -> None:  # noqa: N802 (http.server's name)
        """Actions."""
        length = int(self.headers.get("Content-Length") or 0)
        values = json.loads(self.rfile.read(length) or b"{}")
        with self.state.stand.at_work():
            action = self._act(self.path.rstrip("/"), values)
        if action is None:
            self._say({"detail": "Not Found"}, _NOT_FOUND)
        else:
            self._say(self._described(action), _CREATED)

    def _get(self, path: str) -> None:
        raise NotImplementedError

    def _act(self, path: str, values: dict[str, Any]) -> _Action | None:
        raise NotImplementedError

    def _links(self, href: str) -> Any:
        raise NotImplementedError

    def _say(self, value: Any, status: int = 200) -> None:
        self.answer(json.dumps(value).encode("utf-8"), "application/json", status)

    def _described(self, action: _Action) -> dict[str, Any]:
        status = action.status or ("completed" if action.is_done() else "running")
        href = f"{self.prefix}/{action.id}"
        described = {"id": action.id, "action": action.name, "status": status, "output": action.output, "log": []}
        return {**described, "href": href, "links": self._links(href)}


class _Server2(_Server):
    prefix = "/api/v2/actions"

    def _links(self, href: str) -> Any:
        return {"self": {"href": href}}

    def _get(self, path: str) -> None:
        if path == "/api/v2/instrument/state/stage/position":
            self._say(self.state.position())
        elif path == "/api/v2/streams/snapshot":
            self.answer(self.state.picture(), "image/jpeg")
        elif path == "/api/v2/streams/mjpeg":
            self.stream(self.state.stand.snap)
        elif path == "/api/v2/extensions/org.openflexure.camera_stage_mapping/get_calibration":
            mapped = {"image_to_stage_displacement": self.state.matrix()}
            found = {"camera_stage_mapping_calibration": mapped, "image_resolution": self.state.resolution()}
            self._say(found if self.state.is_mapped else {})
        else:
            self._say({"message": "Not Found"}, _NOT_FOUND)

    def _act(self, path: str, values: dict[str, Any]) -> _Action | None:
        if path == "/api/v2/actions/stage/move":
            return self.state.move(values, absolute=bool(values.get("absolute")))
        return None


class _Server3(_Server):
    prefix = "/api/v3/action_invocations"

    def _links(self, href: str) -> Any:
        return [{"rel": "self", "href": href}]

    def _get(self, path: str) -> None:
        state, place = self.state, path.removeprefix("/api/v3")
        if place == "/stage/position":
            self._say(state.position())
        elif place == "/camera/mjpeg_stream":
            self.stream(state.stand.snap)
        elif place == "/camera_stage_mapping/image_to_stage_displacement_matrix":
            self._say(state.matrix())
        elif place == "/camera_stage_mapping/image_resolution":
            self._say(state.resolution() if state.is_mapped else None)
        else:
            self._say({"detail": "Not Found"}, _NOT_FOUND)

    def _act(self, path: str, values: dict[str, Any]) -> _Action | None:
        place = path.removeprefix("/api/v3")
        if place == "/stage/move_absolute":
            return self.state.move(values, absolute=True)
        if place == "/stage/move_relative":
            return self.state.move(values, absolute=False)
        if place == "/camera/grab_jpeg":
            return self.state.grab()
        if place == "/illumination/set_led":
            return self.state.led(bool(values.get("led_on", True)))
        return None


def openflexure_server(state: OpenFlexureState, api: Literal["v2", "v3"] = "v3", port: int = 0) -> LoopbackServer:
    """A server with one version of the API. Version 2 lights its lamp at once, and cannot put it out.

    Args:
        state: what is behind it.
        api: the version.
        port: 0 for any that is free.
    """
    kind = _Server2 if api == "v2" else _Server3
    if api == "v2":
        state.stand.switch(True)
    return LoopbackServer(type("OpenFlexureServer", (kind,), {"state": state}), port)
