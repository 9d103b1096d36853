"""The command line: what it prints, how it ends, and that every bad input is one line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import get_args

import click
import pytest

from knowing import Knowing
from parfocal import cli
from parfocal.errors import InstrumentError
from parfocal.slide.fields.folder import FieldsFolder

AREA = "0.15x0.1"


def walk(command=cli.cli, path=("parfocal",)):
    """Every command as (words, command), groups included."""
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from walk(sub, (*path, name))


COMMANDS = dict(walk())


# Start-up


def test_importing_the_command_line_loads_no_heavy_library():
    code = "import sys, parfocal.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"torch", "onnxruntime", "cv2", "numpy", "scipy", "matplotlib", "tifffile", "imagecodecs", "openslide"}
    assert not loaded & (heavy | {"pydantic", "tqdm"})
    assert "click" in loaded


@pytest.mark.parametrize("arguments", [("--version",), ("scan", "--help")])
def test_the_installed_command_runs(arguments):
    command = Path(sys.executable).parent / "parfocal"
    done = subprocess.run([command, *arguments], check=True, capture_output=True, text=True, timeout=60)
    assert "parfocal" in done.stdout
    assert done.stderr == ""


# Help


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path):
    command = COMMANDS[path]
    assert command.help
    if isinstance(command, click.Group):
        return
    assert "Examples:" in command.help
    assert " ".join(path) in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        else:
            assert parameter.name.upper() in command.help or parameter.default, parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_examples_in_help_name_options_that_exist(path):
    for line in (COMMANDS[path].help or "").splitlines():
        words = line.split()
        if words[:1] != ["parfocal"]:
            continue
        command = next(COMMANDS[tuple(words[:n])] for n in (3, 2) if tuple(words[:n]) in COMMANDS)
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


# A scan


@pytest.fixture(scope="module")
def once():
    """What is made for all tests of this file, by what it is."""
    return {}


@pytest.fixture
def scanned(parfocal, use_predictor, small_toml, tmp_path_factory, once):
    """(output of a small scan, its folder, the instrument that made it): not to be changed."""
    opened = use_predictor(Knowing)
    if not once:
        folder = tmp_path_factory.mktemp("scanned") / "slide"
        arguments = ("--specimen", "blood-smear", "--area", AREA, "--seed", 3)
        once["scan"] = parfocal("scan", small_toml(), "--out", folder, *arguments), folder, opened[0]
    return once["scan"]


@pytest.fixture
def own_scan(scanned, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(scanned[1], tmp_path / "slide")


def test_a_scan_says_what_came_of_it_and_where_it_lies(scanned):
    (code, out, err), folder, instrument = scanned
    assert (code, err) == (0, "")
    assert "4 fields, 0 empty, 0 in doubt, 0 taken again" in out
    assert "100.0% of the tissue fields visited" in out
    for name in ("slide.ome.tif", "overview.jpg", "focus.png", "report.json"):
        assert str(folder / name) in out
        assert (folder / name).is_file()
    assert not instrument.microscope.lamp.is_on


def test_what_drifted_is_told_with_a_warning(parfocal, own_scan):
    report = json.loads((own_scan / "report.json").read_text(encoding="utf-8"))
    assert report["drift"].keys() >= {"light_change", "focus_um_per_min", "warnings"}
    report["drift"] = {"light_change": -0.2, "focus_um_per_min": 0.9, "warnings": ["the light changed by -20.0%"]}
    (own_scan / "report.json").write_text(json.dumps(report), encoding="utf-8")
    out = parfocal("scan", "--resume", own_scan)[1]
    assert "drift: light -20.0% from first field to last, focus +0.90 µm a minute\nwarning: the light changed by" in out


def test_json_prints_the_report_and_nothing_else(parfocal, use_predictor, small_toml, tmp_path):
    use_predictor(Knowing)
    arguments = ("--specimen", "blood-smear", "--area", AREA, "--json")
    code, out, err = parfocal("scan", small_toml(), "--out", tmp_path / "slide", *arguments)
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "slide" / "report.json").read_text(encoding="utf-8"))


def test_overwrite_replaces_an_earlier_scan_and_nothing_else(parfocal, own_scan, small_toml):
    folder = own_scan
    again = ("scan", small_toml(), "--out", folder, "--specimen", "blood-smear", "--area", AREA, "--seed", 4)
    code, _, err = parfocal(*again)
    assert code == 2
    assert "not empty" in err
    assert FieldsFolder(folder).header.seed == 3
    assert parfocal(*again, "--overwrite")[0] == 0
    assert FieldsFolder(folder).header.seed == 4
    (folder / "thesis.txt").write_text("three years of work")
    code, _, err = parfocal(*again, "--overwrite")
    assert code == 2
    assert "thesis.txt" in err
    assert (folder / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), {"policy": None, "everywhere": None}),
        (("--policy", "paper", "--everywhere"), {"policy": "paper", "everywhere": True}),
    ],
)
def test_policy_and_everywhere_reach_the_scan(
    parfocal, use_predictor, small_toml, tmp_path, monkeypatch, options, wanted
):
    from parfocal import api
    from parfocal.errors import ScanStoppedError

    asked = []

    def scan(instrument, out, area_mm, **how):
        asked.append({name: how[name] for name in wanted})
        raise ScanStoppedError("seen enough")

    use_predictor(Knowing)
    monkeypatch.setattr(api, "scan", scan)
    code, _, _ = parfocal("scan", small_toml(), "--out", tmp_path, *options)
    assert code == 3
    assert asked == [wanted]


def test_the_policies_of_the_command_line_are_those_that_there_are(parfocal, tmp_path):
    from parfocal.cli.scanning import POLICIES
    from parfocal.focus.policies import PolicyName

    assert sorted(POLICIES) == sorted(get_args(PolicyName))
    code, _, err = parfocal("scan", "--out", tmp_path, "--policy", "luck")
    assert code == 2
    assert "'luck' is not one of 'surface'" in err


def test_info_describes_the_folder_and_the_slide(parfocal, scanned):
    folder = scanned[1]
    code, out, _ = parfocal("info", folder, "--json")
    described = json.loads(out)
    assert code == 0
    assert (described["kind"], described["fields"], described["focused"]) == ("fields folder", 4, 4)
    code, out, _ = parfocal("info", folder / "slide.ome.tif")
    assert code == 0
    assert "mpp-x" in out
    assert "0.345" in out


def test_stitch_makes_the_slide_again(parfocal, own_scan):
    folder = own_scan
    (folder / "slide.ome.tif").unlink()
    code, out, _ = parfocal("stitch", folder, "--json")
    figures = json.loads(out)
    assert code == 0
    assert figures["slide"] == "slide.ome.tif"
    assert (folder / "slide.ome.tif").is_file()
    assert figures["rms_error_px"] <= 1.0
    assert figures["seams"] == 4


# Stopped


@pytest.fixture
def listens_to_ctrl_c():
    """A shell starts what runs in its background deaf to Ctrl-C, tests included."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_a_scan_stopped_half_way_exits_3_and_can_be_stitched(parfocal, use_predictor, small_toml, tmp_path, number):
    records, stopped = tmp_path / "slide" / "fields.jsonl", []

    def recorded():
        return records.read_bytes().count(b"\n") if records.exists() else 0

    def stop(asked):
        # By the third prediction two fields may be done; the writer has a thread of its own and may be behind.
        patience_s = time.monotonic() + 3
        while asked >= 3 and recorded() < 2 and time.monotonic() < patience_s:
            time.sleep(0.01)
        if recorded() >= 2 and not stopped:
            stopped.append(asked)
            os.kill(os.getpid(), number)

    opened = use_predictor(lambda instrument: Knowing(instrument, stop))
    arguments = ("--specimen", "blood-smear", "--area", AREA)
    code, out, err = parfocal("scan", small_toml(), "--out", tmp_path / "slide", *arguments)
    assert code == 3
    assert out == ""
    assert err.count("\n") == 1
    assert re.search("interrupted after [23] of 4 fields", err)
    assert not opened[0].microscope.lamp.is_on
    code, out, _ = parfocal("info", tmp_path / "slide", "--json")
    assert json.loads(out)["fields"] in (2, 3)
    assert json.loads(out)["fields_planned"] == 4
    assert parfocal("stitch", tmp_path / "slide")[0] == 0
    assert (tmp_path / "slide" / "slide.ome.tif").is_file()


# Focus


def test_focus_on_one_field_of_a_simulated_microscope(parfocal, use_predictor, small_toml):
    use_predictor(Knowing)
    code, out, _ = parfocal("focus", small_toml(), "--specimen", "blood-smear", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["verdict"] == "focused"
    assert abs(result["final_z"] - result["best_z"]) <= 1.0
    assert result["images"] == len(result["trace"])


def test_focus_prints_each_exposure_for_people(parfocal, use_predictor, small_toml):
    use_predictor(Knowing)
    code, out, _ = parfocal("focus", small_toml(), "--specimen", "blood-smear")
    assert code == 0
    assert out.splitlines()[0].split()[0] == "first"
    assert out.splitlines()[-1].startswith("focused at ")


def test_focus_on_a_recorded_stack(parfocal, network, recorded_stack):
    code, out, _ = parfocal("focus", "--replay", recorded_stack, "--start", -6, "--json")
    result = json.loads(out)
    assert code == 0
    assert {"final_z", "best_z", "images", "verdict", "trace"} <= result.keys()
    assert result["best_z"] == 0.0
    assert result["final_z"] in {float(z) for z in range(-14, 8, 2)}
    assert result["trace"][0]["z_um"] == -6.0


# Bad input: one line, exit code 2, nothing written


def one_line(result, *fragments):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for fragment in fragments:
        assert fragment in err


BLOOD = ("--specimen", "blood-smear")


@pytest.fixture
def scan_badly(parfocal, use_predictor, tmp_path):
    """Run a scan that must be refused: `scan_badly(instrument, *options)`; the lamp was never lit."""
    opened = use_predictor(Knowing)

    def run(instrument, *options, out=tmp_path / "slide"):
        result = parfocal("scan", instrument, "--out", out, "--area", AREA, *options)
        assert all(not entry.microscope.lamp.is_on and entry.microscope.clock.now_s == 0 for entry in opened)
        return result

    return run


def test_unknown_microscope(scan_badly):
    one_line(scan_badly("simulated-10x"), "'simulated-10x'", "simulated-20x", "simulated-40x")


def test_unknown_specimen(scan_badly, small_toml):
    one_line(scan_badly(small_toml(), "--specimen", "cheese"), "'cheese'", "he-tissue", "blood-smear", "gram-smear")


@pytest.mark.parametrize("content", [None, b"", b"no image"], ids=["missing", "empty", "text"])
def test_unreadable_specimen_image(scan_badly, small_toml, tmp_path, content):
    path = tmp_path / "tissue.png"
    if content is not None:
        path.write_bytes(content)
    one_line(scan_badly(small_toml(), "--specimen", f"image:{path}"), "tissue.png")


def test_specimen_image_that_is_a_folder(scan_badly, small_toml, tmp_path):
    one_line(scan_badly(small_toml(), "--specimen", f"image:{tmp_path}"), str(tmp_path))


def test_output_folder_below_a_file(scan_badly, small_toml, tmp_path):
    (tmp_path / "file").write_text("")
    one_line(scan_badly(small_toml(), *BLOOD, out=tmp_path / "file" / "slide"), str(tmp_path / "file"))


def test_output_folder_that_is_not_empty(scan_badly, small_toml, tmp_path):
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "notes.txt").write_text("mine")
    one_line(scan_badly(small_toml(), *BLOOD), str(tmp_path / "slide"), "not empty")
    one_line(scan_badly(small_toml(), *BLOOD, "--overwrite"), "not empty")
    assert (tmp_path / "slide" / "notes.txt").read_text() == "mine"


def test_region_outside_the_stage(scan_badly, small_toml, tmp_path):
    result = scan_badly(small_toml(), *BLOOD, "--area", "30x1")
    one_line(result, "the region needs x from", "µm", "12500 µm")
    assert not (tmp_path / "slide").exists()


@pytest.mark.parametrize("area", ["0x1", "2", "2x-1", "wide", "2x2mm", "1e3x1", "300x1"])
def test_area_that_is_none(scan_badly, small_toml, area):
    code, _, err = scan_badly(small_toml(), *BLOOD, "--area", area)
    assert code == 2
    assert "Error: Invalid value for '--area'" in err
    assert "mm" in err


def test_take_up_smaller_than_backlash(scan_badly, small_toml):
    path = small_toml("take_up_um = 22.0", "take_up_um = 14.0")
    one_line(scan_badly(path), "14 µm", "20 µm", "at least 21 µm")


def test_slack_larger_than_the_instrument_is_set_up_for(parfocal, use_predictor, small_toml, tmp_path):
    opened = use_predictor(Knowing)
    path = small_toml("xy_backlash_um = 80.0", "z_backlash_um = 25.0", "step_um = 4.0", "step_um = 2.0")
    result = parfocal("scan", path, "--out", tmp_path / "slide", *BLOOD, "--area", AREA)
    one_line(result, "z backlash", "20 µm", "take_up_um")
    assert not opened[0].microscope.lamp.is_on


def test_seed_out_of_range(scan_badly, small_toml):
    one_line(scan_badly(small_toml(), "--seed", -1), "seed -1", "0 and 2147483647")


@pytest.mark.parametrize(
    "content", [None, b"", b"not a network", b"\x08\x08\x12\x04junk"], ids=["missing", "empty", "text", "bytes"]
)
def test_corrupt_network(parfocal, small_toml, tmp_path, content):
    path = tmp_path / "network.onnx"
    if content is not None:
        path.write_bytes(content)
    arguments = (*BLOOD, "--area", AREA, "--network", path)
    one_line(parfocal("scan", small_toml(), "--out", tmp_path / "slide", *arguments), "network.onnx")
    assert not (tmp_path / "slide").exists()


def test_stack_with_missing_files(parfocal, recorded_stack, tmp_path):
    stack = shutil.copytree(recorded_stack, tmp_path / "stack")
    (stack / "z-04.png").unlink()
    one_line(parfocal("focus", "--replay", stack), "z-04.png", "No such file")
    (stack / "stack.json").unlink()
    one_line(parfocal("focus", "--replay", stack), "stack.json", "No such file")


def test_um_per_step_for_a_stack_in_um(parfocal, recorded_stack):
    result = parfocal("focus", "--replay", recorded_stack, "--um-per-step", 1.5)
    one_line(result, "my-stack", "1.5 µm per step")


@pytest.mark.parametrize("option", [("--start", "1"), ("--um-per-step", "2")])
def test_options_of_a_replay_without_one(parfocal, option):
    one_line(parfocal("focus", "simulated-20x", *option), "--replay")


@pytest.mark.parametrize("command", ["info", "stitch"])
def test_folder_that_holds_no_scan(parfocal, tmp_path, command):
    one_line(parfocal(command, tmp_path), "scan.json")


def test_slide_that_is_none(parfocal, tmp_path):
    (tmp_path / "slide.ome.tif").write_bytes(b"II*\x00nothing")
    one_line(parfocal("info", tmp_path / "slide.ome.tif"), "slide.ome.tif")


@pytest.mark.parametrize(
    "content", [None, "alpha = 'wide'", "colour = 3", "= 1"], ids=["missing", "type", "key", "toml"]
)
def test_recipe_that_is_none(parfocal, tmp_path, content):
    recipe = tmp_path / "recipe.toml"
    if content is not None:
        recipe.write_text(content)
    one_line(parfocal("train", recipe, "--out", tmp_path / "training"), "recipe.toml")
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize(("option", "name", "known"), [("slide", "moon", "half-empty"), ("policy", "luck", "paper")])
def test_an_unknown_slide_or_policy_of_the_benchmark_is_named_with_those_there_are(parfocal, option, name, known):
    code, _, err = parfocal("benchmark", "policies", "--quick", f"--{option}", name)
    assert code == 2
    assert f"'{name}'" in err
    assert known in err


def test_unknown_option_and_missing_option(parfocal):
    code, _, err = parfocal("scan", "simulated-20x")
    assert code == 2
    assert "a scan needs MICROSCOPE and --out" in err
    code, _, err = parfocal("scan", "simulated-20x", "--outt", "x")
    assert code == 2
    assert "--outt" in err


# Collecting


def test_collecting_shows_each_curve_and_what_comes_next_and_goes_on(parfocal, small_toml, tmp_path):
    out = tmp_path / "stacks"
    arguments = ("collect", small_toml(), "--out", out, "--slide", "smear", *BLOOD, "--stacks", 1, "--range", 4)
    code, told, err = parfocal(*arguments, "--area", "0.25x0.2")
    assert (code, err) == (0, "")
    assert re.search(r"^smear-01  [▁-█]{9}  peak at -?\d+\.\d\d µm: one clear peak$", told, re.MULTILINE)
    assert "1 recorded now; 1 of 1 stacks of smear are in" in told
    assert f"parfocal label {out}" in told
    code, told, _ = parfocal(*arguments, "--area", "0.25x0.2", "--json")
    assert (code, json.loads(told)["there"], json.loads(told)["recorded"]) == (0, 1, [])


def test_collecting_into_a_folder_of_something_else(parfocal, small_toml, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    one_line(parfocal("collect", small_toml(), "--out", tmp_path, *BLOOD), str(tmp_path), "thesis.txt")


def test_collecting_by_a_calibration_that_is_not_there(parfocal, small_toml, tmp_path):
    arguments = ("collect", small_toml(), "--out", tmp_path / "stacks", "--calibration", tmp_path / "small.json")
    one_line(parfocal(*arguments), "small.json")
    assert not (tmp_path / "stacks").exists()


# The benchmark of backlash


def test_backlash_benchmark_shows_that_the_printed_constants_lose_the_pair(parfocal):
    code, out, _ = parfocal("benchmark", "backlash", "--json")
    rows = {row["backlash_um"]: row for row in json.loads(out)["rows"]}
    assert code == 0
    assert sorted(rows) == [float(b) for b in range(26)]
    assert [rows[b]["as_printed_um"] for b in (14, 15, 16, 17, 20)] == [3.0, 2.0, 1.0, 0.0, 0.0]
    assert {row["corrected_um"] for row in rows.values()} == {3.0}
    assert [rows[b]["configured_um"] for b in (0, 20, 21)] == [3.0, 3.0, 3.0]
    assert rows[25]["configured_um"] == 0.0


def test_backlash_benchmark_prints_a_table(parfocal):
    code, out, _ = parfocal("benchmark", "backlash")
    assert code == 0
    assert len(out.splitlines()) == 2 + 26
    assert out.splitlines()[-1].split() == ["25", "µm", "3.00", "0.00", "0.00"]


# Lenses, and the benchmark of Δ


def test_commands_offer_every_lens_that_test_stacks_can_be_taken_through():
    from parfocal.stacks.protocol import DEFAULT_LENS, LENSES

    for path in (("parfocal", "synthesize"), ("parfocal", "benchmark", "accuracy")):
        (option,) = (parameter for parameter in COMMANDS[path].params if parameter.name == "lens")
        assert list(option.type.choices) == list(LENSES)
        assert option.default == DEFAULT_LENS


@pytest.mark.slow
def test_delta_benchmark_tells_what_a_network_knows_and_what_it_does_not(parfocal, monkeypatch, network):
    from parfocal.benchmark import delta

    monkeypatch.setattr(delta, "measure_delta", partial(delta.measure_delta, tiles=(1, 1)))
    code, out, _ = parfocal("benchmark", "delta", "--network", network, "--fields", "1", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert {(row["network"], row["known"]) for row in rows if row["delta_um"] == 3} == {(str(network), True)}
    unknown = [row for row in rows if not row["known"]]
    assert unknown
    assert all(row["mean_abs_error_um"] is row["within_5_um"]["within_half_dof"] is None for row in unknown)
    one_line(parfocal("benchmark", "delta", "--network", "no-such.onnx"), "no-such.onnx")


# Resumed, verified


@pytest.fixture
def broken_off(parfocal, use_predictor, small_toml, tmp_path):
    """A scan that ended after its second field."""

    def broken(asked):
        raise InstrumentError("the stage does not answer")

    use_predictor(lambda instrument: Knowing(instrument, lambda asked: broken(asked) if asked > 2 else None))
    folder = tmp_path / "scan"
    arguments = ("--specimen", "blood-smear", "--area", AREA)
    code, _, err = parfocal("scan", small_toml(), "--out", folder, *arguments)
    assert (code, "stopped after" in err) == (3, True)
    use_predictor(Knowing)
    return folder


@pytest.mark.slow
def test_a_scan_that_broke_off_is_not_complete_and_after_a_resume_it_is(parfocal, broken_off):
    code, out, _ = parfocal("verify", broken_off, "--json")
    before = json.loads(out)
    assert (code, before["complete"], before["corrupt"], before["missing"]) == (3, False, 0, 0)
    code, out, _ = parfocal("scan", "--resume", broken_off, "--json")
    assert (code, json.loads(out)["fields"]) == (0, 4)
    code, out, _ = parfocal("verify", broken_off, "--json")
    assert (code, json.loads(out)["verified"], json.loads(out)["complete"]) == (0, 4, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "scan", "--out", "other"), "--out does not go with --resume"),
        (("--resume", "scan", "--area", "1x1"), "--area does not go with --resume"),
        (("simulated-20x",), "--resume FOLDER"),
        (("--out", "other"), "--resume FOLDER"),
    ],
)
def test_what_the_folder_tells_is_not_told_again_and_a_new_scan_needs_name_and_folder(parfocal, arguments, message):
    code, _, err = parfocal("scan", *arguments)
    assert code == 2
    assert message in err


def test_a_folder_that_holds_no_scan_is_neither_resumed_nor_verified(parfocal, tmp_path):
    for arguments in (("scan", "--resume", tmp_path), ("verify", tmp_path)):
        code, _, err = parfocal(*arguments)
        assert code == 2
        assert "scan.json: cannot read" in err
