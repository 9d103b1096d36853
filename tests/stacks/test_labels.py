"""Focus labels: between the planes, doubts told, decisions written back and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from parfocal.cli import cli
from parfocal.errors import FileError, SettingsError
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination
from parfocal.stacks.labels import false_peaks, find_label, write_label
from parfocal.stacks.sets import read_stacks


def write_stack(folder: Path, focus_um: float, z_um: np.ndarray, **keys: object) -> Path:
    """A stack of a flat specimen in focus at `focus_um`."""
    folder.mkdir(parents=True)
    look = Appearance(cover=0.99, thickness_um=0.0, dust_per_mm2=0, phase=0.0)
    sample = make_sample("blood-smear", 5, Topography(base_um=focus_um), look)
    light = SlideOptics(sample, Illumination(Objective(20, 0.75))).field(0, 0, (160, 160), 0.345)
    planes = []
    for number, z in enumerate(z_um):
        frame = np.clip(np.asarray(light.plane(float(z))) * 220, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), frame[..., ::-1])
        planes.append({"file": f"{number}.png", "z": round(float(z), 3)})
    description = {"z_unit": "um", "planes": planes, "remark": "kept"} | keys
    (folder / "stack.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two stacks: one beyond doubt, one whose focus lies beyond its end."""
    write_stack(tmp_path / "set" / "clear", 0.37, np.arange(-4, 4.1, 1.0))
    write_stack(tmp_path / "set" / "cut-off", 5.0, np.arange(-4, 1.1, 1.0))
    return tmp_path / "set"


def run(*arguments: object) -> dict:
    done = CliRunner().invoke(cli, ["label", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return {row["stack"]: row for row in json.loads(done.stdout)["stacks"]}


@pytest.mark.parametrize("focus_um", [-0.4, 0.0, 0.37, 1.5])
@pytest.mark.parametrize("merit", ["tenengrad", "variance-of-laplacian"])
def test_the_label_lies_between_the_planes(tmp_path: Path, focus_um: float, merit: str):
    (sharp,) = read_stacks(write_stack(tmp_path / "sharp", focus_um, np.arange(-4, 4.1, 1.0)))
    (fine,) = read_stacks(write_stack(tmp_path / "fine", focus_um, np.arange(-4, 4.05, 0.2)))
    label = find_label(sharp, merit)
    assert label.best_z == pytest.approx(find_label(fine, merit).best_z, abs=0.15)
    assert not label.doubts


def test_the_label_of_fine_planes_is_where_the_specimen_is(tmp_path: Path):
    (stack,) = read_stacks(write_stack(tmp_path / "fine", 0.37, np.arange(-3, 3.05, 0.3)))
    assert find_label(stack).best_z == pytest.approx(0.37, abs=0.1)


def test_a_second_peak_is_suspected_and_a_ripple_is_not():
    z = np.arange(40.0)
    main, dust = np.exp(-(((z - 12) / 3) ** 2)), np.exp(-(((z - 30) / 2) ** 2))
    ripple = 0.02 * np.sin(z)
    assert false_peaks(main + ripple) == ()
    assert false_peaks(main + 0.3 * dust) == ()
    assert false_peaks(main + 0.7 * dust + ripple) == (30,)
    assert false_peaks(np.ones(5)) == ()


def test_a_peak_at_the_end_and_a_flat_curve_are_doubts(folder: Path, tmp_path: Path):
    rows = run(folder)
    assert rows["clear"]["doubts"] == []
    assert "highest" in rows["cut-off"]["doubts"][0]
    write_stack(tmp_path / "flat", 0.0, np.array([-0.01, 0.0, 0.01]))
    assert any("flat" in doubt for doubt in run(tmp_path / "flat")["flat"]["doubts"])


def test_nothing_is_written_unless_asked_for(folder: Path):
    before = (folder / "clear" / "stack.json").read_bytes()
    run(folder)
    assert (folder / "clear" / "stack.json").read_bytes() == before


def test_single_peaks_are_accepted_and_doubtful_ones_left_to_a_human(folder: Path):
    run(folder, "--accept-single-peaks")
    clear, cut_off = read_stacks(folder)
    assert (clear.label_state, cut_off.label_state) == ("confirmed", "auto")
    assert clear.best_z == pytest.approx(0.37, abs=0.2)
    assert cut_off.best_z is None
    assert json.loads((folder / "clear" / "stack.json").read_text())["remark"] == "kept"


def test_a_human_corrects_confirms_and_rejects(folder: Path):
    run(folder, "--set", "clear=0.5", "--reject", "cut-off")
    assert [(s.best_z, s.label_state) for s in read_stacks(folder)] == [(0.5, "corrected"), (None, "rejected")]
    run(folder, "--accept-single-peaks")  # what a human decided stays
    assert [s.label_state for s in read_stacks(folder)] == ["corrected", "rejected"]
    run(folder, "--confirm", "cut-off")
    assert read_stacks(folder)[1].best_z == 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "clear=9"), r"best z 9 um is outside stack clear, -4 to 4 um"),
        (("--set", "clear=x"), r"'x' of stack clear is not a number"),
        (("--set", "9"), r"no stack ''"),
        (("--reject", "nobody"), r"no stack 'nobody': clear, cut-off"),
        (("--reject", "clear", "--confirm", "clear"), "clear is decided upon twice"),
        (("--merit", "beauty"), r"'beauty': choose one of tenengrad"),
    ],
)
def test_bad_decisions_are_refused_before_anything_is_written(folder: Path, arguments: tuple[str, ...], says: str):
    before = (folder / "clear" / "stack.json").read_bytes()
    with pytest.raises(SettingsError, match=says):
        CliRunner().invoke(cli, ["label", str(folder), *arguments], catch_exceptions=False, standalone_mode=False)
    assert (folder / "clear" / "stack.json").read_bytes() == before


def test_a_label_cannot_be_confirmed_where_there_is_none(folder: Path):
    with pytest.raises(SettingsError, match="has no best_z that could be confirmed"):
        write_label(folder / "clear", None, "confirmed")
    with pytest.raises(FileError, match=r"stack\.json: cannot be read: No such file"):
        write_label(folder, 1.0, "auto")


def test_the_curves_are_drawn(folder: Path, tmp_path: Path):
    run(folder, "--plot", tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).shape[1] > 500
