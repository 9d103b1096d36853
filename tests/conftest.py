"""What tests of whole scans share: a small quick instrument, a recorded stack, and the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal import cli
from parfocal.config import Instrument, shipped_network

SMALL = """
name = "small"
kind = "simulated"
decision_time_s = 0.015
[objective]
magnification = 20
na = 0.75
[camera]
frame_shape = [240, 320]
pixel_size_um = 0.345
sensor_pixel_um = 3.45
[approach]
delta_um = 2.0
backlash_um = 20.0
take_up_um = 22.0
start_below_um = 6.0
[z]
lowest_um = -120.0
highest_um = 120.0
[sweep]
lowest_um = -20.0
highest_um = 20.0
step_um = 4.0
[xy]
backlash_um = [80.0, 80.0]
neighbour_error_um = 4.0
[simulated]
xy_backlash_um = 80.0
"""


def pytest_collection_modifyitems(items):
    """Whole pages of the documentation first: two minutes of one of them at the end would leave a core idle."""
    items.sort(key=lambda item: "test_slow_commands_of_the_documentation_run" not in item.nodeid)


@pytest.fixture(scope="session")
def small_toml(tmp_path_factory):
    """Path of a TOML file: simulated-20x with a small frame and a short sweep; `small_toml(old, new, …)` changes it."""

    def write(*changes: str) -> str:
        text = SMALL
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path_factory.mktemp("instrument") / "small.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def parfocal(monkeypatch, capsys):
    """Run the command line: `code, out, err = parfocal("info", folder)`. Anything but a clean exit is an error here."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["parfocal", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def use_predictor(monkeypatch):
    """Let commands focus with another predictor: `use_predictor(Knowing)` returns the instruments that asked for it."""

    def use(make):
        opened: list[Instrument] = []

        def predictor(instrument, network=None):
            opened.append(instrument)
            return make(instrument)

        monkeypatch.setattr(Instrument, "predictor", predictor)
        return opened

    return use


@pytest.fixture(scope="session")
def network() -> Path:
    """The network that comes with Parfocal."""
    path = shipped_network()
    if not path.is_file():
        pytest.fail(f"the package holds no network: {path.name} is missing")
    return path


def _draw_stack(folder: Path) -> Path:
    """Eleven planes of a blood smear, 2 µm apart, as a stack in µm; plane 0 is in focus."""
    from parfocal.optics.imaging import SlideOptics
    from parfocal.optics.objective import Objective
    from parfocal.optics.samples import make_sample
    from parfocal.optics.sensor import Sensor
    from parfocal.optics.transfer import Illumination

    light = SlideOptics(make_sample("blood-smear", seed=3), Illumination(Objective(20, 0.75)))
    field, rng = light.field(0.0, 0.0, (448, 448), 0.345), np.random.default_rng(0)
    planes = []
    folder.mkdir()
    for z_um in range(-14, 8, 2):
        file = f"z{z_um:+03d}.png"
        frame = Sensor().expose(field.plane(float(z_um)), rng)
        cv2.imwrite(str(folder / file), frame[..., ::-1])
        planes.append({"file": file, "z": float(z_um)})
    description = {"z_unit": "um", "best_z": 0.0, "pixel_size_um": 0.345, "na": 0.75, "magnification": 20}
    (folder / "stack.json").write_text(json.dumps({**description, "planes": planes}, indent=1))
    return folder


@pytest.fixture(scope="session")
def recorded_stack(tmp_path_factory) -> Path:
    """Folder of a z-stack in µm, best at 0; not to be changed."""
    return _draw_stack(tmp_path_factory.mktemp("recorded") / "my-stack")
