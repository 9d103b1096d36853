"""The documentation against the program: its commands run, its example runs, and it leaves no command out.

Blocks ```console run in the default tests, those of a page that has ```console slow run with these, in order, in the
slow ones; those of ```console serves run until they have answered; of ```console hours, and of long ones like
others that run, only the arguments are checked.
Blocks ```python after run once the page's commands have. The commands of a page run in order in one folder, which holds
a recorded stack `my-stack` and a fields folder `my-scan`.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from parfocal import __version__, cli
from parfocal.config import instrument_names, specimen_names
from parfocal.config.tables import DeviceTable, InstrumentFile
from parfocal.devices.driver import BUILT_IN, driver_named
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("**/*.md"), ROOT / "README.md"], key=lambda page: page.as_posix())
_FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *infos):
    """Texts of the fenced blocks of a page with one of these info strings, in order."""
    text = page.read_text(encoding="utf-8")
    return [match["text"] for match in _FENCE.finditer(text) if match["info"].strip() in infos]


def commands(page, *infos):
    """Commands of such blocks, as lists of words, without the prompt."""
    lines = [line for text in blocks(page, *infos) for line in text.splitlines() if line.startswith("$ ")]
    return [shlex.split(line.removeprefix("$ ")) for line in lines]


def pages_with(info):
    return [page for page in PAGES if any(words[0] == "parfocal" for words in commands(page, info))]


def quick_pages():
    """Pages without slow commands: those of the others run with them, in order, in the slow tests."""
    return [page for page in pages_with("console") if page not in pages_with("console slow")]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def scanned(tmp_path_factory):
    """A fields folder of 2 × 2 fields, cut from one picture; not to be changed."""
    height, width, step_x, step_y, pixel_um = 240, 320, 256, 192, 0.345
    noise = np.random.default_rng(1).normal(0, 1, (height + step_y, width + step_x, 3))
    picture = np.clip(150 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)
    header = FieldsHeader(
        version=__version__,
        seed=1,
        microscope="simulated-20x",
        specimen="blood-smear",
        pixel_size_um=pixel_um,
        frame_shape=(height, width),
        magnification=20,
        na=0.75,
        immersion_index=1.0,
        depth_of_field_um=1.21,
        rows=2,
        columns=2,
        overlap=0.2,
    )
    path = tmp_path_factory.mktemp("scanned") / "my-scan"
    with FieldsWriter(path, header) as writer:
        for index, (row, column) in enumerate(((0, 0), (0, 1), (1, 1), (1, 0))):
            x, y = column * step_x, row * step_y
            centre_um = ((x + width / 2) * pixel_um, (y + height / 2) * pixel_um)
            record = FieldRecord(index, row, column, *centre_um, 0.0, "focused", 2)
            writer.put(record, picture[y : y + height, x : x + width])
    return path


@pytest.fixture
def folder(tmp_path, recorded_stack, scanned):
    """Where a page's commands run."""
    shutil.copytree(recorded_stack, tmp_path / "my-stack")
    shutil.copytree(scanned, tmp_path / "my-scan")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (instrument,) = blocks(ROOT / "docs" / "instruments.md", "toml")
    (tmp_path / "my-microscope.toml").write_text(instrument, encoding="utf-8")
    (table,) = blocks(ROOT / "docs" / "stitching.md", "text positions")
    (tmp_path / "my-tiles.csv").write_text(table, encoding="utf-8")
    (readings,) = blocks(ROOT / "docs" / "agreement.md", "text readings")
    (tmp_path / "readings.csv").write_text(readings, encoding="utf-8")
    (adjudicated,) = blocks(ROOT / "docs" / "agreement.md", "text adjudicated")
    (tmp_path / "adjudicated.csv").write_text(adjudicated, encoding="utf-8")
    (smear,) = blocks(ROOT / "docs" / "reports.md", "toml smear")
    (tmp_path / "smear.toml").write_text(smear, encoding="utf-8")
    return tmp_path


def run(words, folder):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    assert done.stdout


@pytest.fixture
def run_page(folder, network, parfocal, monkeypatch):
    """Run a page's commands in its folder, then its example."""

    def run_all(page, *infos):
        monkeypatch.chdir(folder)
        for words in commands(page, *infos):
            if words[0] == "parfocal":
                code, out, err = parfocal(*words[1:])
                assert code == 0, f"{shlex.join(words)}\n{out}\n{err}"
                assert out
        for example in blocks(page, "python after"):
            run([sys.executable, "-c", example], folder)

    return run_all


@pytest.mark.parametrize("page", quick_pages(), ids=name_of)
def test_commands_of_the_documentation_run(page, run_page):
    run_page(page, "console")


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("console slow"), ids=name_of)
def test_slow_commands_of_the_documentation_run(page, run_page):
    run_page(page, "console", "console slow")


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("console serves"), ids=name_of)
def test_commands_that_serve_answer_and_end_with_ctrl_c(page, folder):
    for words in commands(page, "console serves"):
        command = [sys.executable, "-m", *words, "--port", "0"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            try:
                (url,) = re.findall(r"http://[0-9.:]+/", process.stdout.readline())
                assert urllib.request.urlopen(f"{url}health", timeout=20).status == 200
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
            finally:
                process.kill()


@pytest.mark.parametrize("page", pages_with("console hours"), ids=name_of)
def test_commands_that_take_hours_have_arguments_that_exist(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands(page, "console hours"):
        name, *arguments = words[words.index("parfocal") + 1 :]
        context = cli.cli.commands[name].make_context(name, arguments)
        if name == "train":
            assert context.params["recipe"].is_file()


def test_every_make_target_of_the_documentation_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wanted = {words[1] for page in PAGES for words in commands(page, "console", "console slow") if words[0] == "make"}
    assert {"scan", "test"} <= wanted <= targets


@pytest.mark.long
def test_the_python_example_runs(folder, network):
    (example,) = blocks(ROOT / "docs" / "python.md", "python")
    assert len(example.splitlines()) <= 16
    run([sys.executable, "-c", example], folder)


@pytest.mark.slow
def test_the_predictor_of_the_documentation_is_judged_and_focuses(folder):
    (example,) = blocks(ROOT / "docs" / "training.md", "python predictor")
    run([sys.executable, "-c", example], folder)


def leaves(command=cli.cli, path=("parfocal",)):
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from leaves(sub, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("path", list(leaves()), ids=" ".join)
def test_every_command_stands_in_the_documentation_with_a_line_that_runs(path):
    every = [words for page in PAGES for words in commands(page, "console", "console slow", "console serves")]
    assert any(tuple(words[: len(path)]) == path for words in every)


def test_every_specimen_and_instrument_stands_in_the_documentation():
    text = (ROOT / "docs" / "first-slide.md").read_text(encoding="utf-8")
    for name in (*specimen_names(), *instrument_names()):
        assert name in text, name


def test_every_key_of_an_instrument_stands_in_the_documentation_and_no_other():
    text = (ROOT / "docs" / "instruments.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_0-9]+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))))
    known = set()
    for name, field in InstrumentFile.model_fields.items():
        inner = DeviceTable.model_fields if name == "devices" else getattr(field.annotation, "model_fields", None)
        known |= set(inner) if inner else {name}
    assert documented == known


def test_every_driver_stands_in_the_documentation():
    text = (ROOT / "docs" / "microscopes.md").read_text(encoding="utf-8")
    for name in BUILT_IN:
        assert re.search(rf"^\|[^|]*`{name}`[^|]*\|", text, re.MULTILINE), name


@pytest.mark.parametrize("name", ["files", "genicam", "micromanager", "uvc"])
def test_every_key_of_a_driver_stands_in_the_documentation(name):
    text = (ROOT / "docs" / "microscopes.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))
    assert set(driver_named(name).settings.model_fields) <= set(re.findall(r"`([a-z_]+)`", rows))


def test_the_instrument_of_the_documentation_is_toml():
    (text,) = blocks(ROOT / "docs" / "instruments.md", "toml")
    assert tomllib.loads(text)["name"] == "my-microscope"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
