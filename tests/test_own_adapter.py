"""The adapter of the documentation is built from its page, put into an instrument, and held to the contract."""

import importlib
import re
import socketserver
import sys
import threading
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from contract import Connection, ConnectionContract, LampContract, XYContract, ZContract

from parfocal.config.assembled import check_devices
from parfocal.config.tables import InstrumentFile
from parfocal.devices.driver import Asked, driver_named
from parfocal.devices.wall_clock import WallClock
from parfocal.errors import InstrumentError

PAGE = (Path(__file__).parent.parent / "docs" / "own-adapter.md").read_text(encoding="utf-8")
LIMITS_UM = {"x_limits_um": (-300.0, 300.0), "y_limits_um": (-200.0, 200.0), "z_limits_um": (-50.0, 90.0)}


def block(info):
    (text,) = re.findall(rf"^```{info}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


class Firmware(socketserver.StreamRequestHandler):
    """The board that the page describes."""

    def handle(self):
        board = self.server
        for line in self.rfile:
            words = line.decode().split()
            if board.is_deaf:
                continue
            if words == ["?"]:
                answer = " ".join(f"{board.at_um[axis]:.3f}" for axis in "XYZ")
            elif words[0] == "L":
                board.lamp, answer = words[1] == "1", "ok"
            else:
                board.at_um |= {axis: float(value) for axis, value in zip(words[::2], words[1::2], strict=True)}
                answer = "ok"
            time.sleep(board.late_s)
            self.wfile.write(f"{answer}\n".encode())


@pytest.fixture
def board():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Firmware) as server:
        server.daemon_threads, server.is_deaf, server.lamp, server.late_s = True, False, False, 0.0
        server.at_um = dict.fromkeys("XYZ", 0.0)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def module(tmp_path, monkeypatch):
    text = block("python adapter")
    assert len(text.splitlines()) < 100
    (tmp_path / "my_stage.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield "my_stage:DRIVER"
    sys.modules.pop("my_stage", None)


def opened(module, port, timeout_s=10.0):
    driver = driver_named(module)
    settings = driver.settings(port=port, timeout_s=timeout_s, **LIMITS_UM)
    return driver.open(settings, Asked(driver.roles, (480, 640), 0.5, WallClock(), Path()))


@pytest.fixture
def devices(module, board):
    devices = opened(module, f"socket://127.0.0.1:{board.server_address[1]}")
    yield devices
    devices.close()
    devices.close()
    assert not board.lamp


class TestXYStage(XYContract):
    @pytest.fixture
    def xy(self, devices):
        return devices.xy

    @pytest.fixture
    def xy_places(self):
        return [(0.0, 0.0), (12.5, -30.0), (-44.0, 8.25)]


class TestZStage(ZContract):
    @pytest.fixture
    def z(self, devices):
        return devices.z

    @pytest.fixture
    def z_places(self):
        return [0.0, 10.5, -20.25]


class TestLamp(LampContract):
    @pytest.fixture
    def lamp(self, devices):
        return devices.lamp


class TestConnection(ConnectionContract):
    @pytest.fixture
    def connection(self, module, board):
        goals = iter(range(10, 60, 10))

        def reached():
            devices = opened(module, f"socket://127.0.0.1:{board.server_address[1]}", timeout_s=0.2)

            def let_go():
                with suppress(InstrumentError):  # the lamp of a deaf board may still be lit, which is told
                    devices.close()

            return let_go, lambda: devices.z.move_to(float(next(goals))), lambda: devices.z.position_um

        return Connection(reached, lambda: setattr(board, "is_deaf", True), 0.2)


def test_the_instrument_of_the_page_takes_it(module, small_toml):
    text = Path(small_toml('kind = "simulated"', 'kind = "devices"')).read_text(encoding="utf-8")
    tables = tomllib.loads(text.partition("[simulated]")[0] + block("toml adapter"))
    check_devices(InstrumentFile.model_validate(tables))


def test_a_board_that_is_not_there_or_does_not_answer_is_told_of(module, board):
    with pytest.raises(InstrumentError, match="board /dev/nowhere cannot be opened"):
        opened(module, "/dev/nowhere")
    devices = opened(module, f"socket://127.0.0.1:{board.server_address[1]}", timeout_s=0.1)
    board.is_deaf = True
    with pytest.raises(InstrumentError, match=r"Z 5\.000 was answered by nothing"):
        devices.z.move_to(5.0)
    with pytest.raises(InstrumentError, match="L 0 was answered by nothing"):
        devices.close()
    devices.close()  # the port was closed all the same


def test_an_answer_that_came_too_late_is_not_taken_for_the_next(module, board):
    devices = opened(module, f"socket://127.0.0.1:{board.server_address[1]}", timeout_s=0.5)
    board.late_s = 0.8
    with pytest.raises(InstrumentError, match=r"Z 5\.000 was answered by nothing"):
        devices.z.move_to(5.0)
    board.late_s = 0.0
    time.sleep(0.6)
    assert devices.z.position_um == 5.0
    devices.close()


def test_a_place_that_is_no_place_is_told_of(module, board, monkeypatch):
    devices = opened(module, f"socket://127.0.0.1:{board.server_address[1]}")
    monkeypatch.setattr(type(devices.z._board), "ask", lambda board, line: "ok")
    with pytest.raises(InstrumentError, match="says that it stands at ok"):
        _ = devices.z.position_um
    monkeypatch.undo()
    devices.close()
