"""The page for judging stacks: it stands alone, shows what is doubtful, and its commands do what they say."""

import base64
import hashlib
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from lxml import html

from parfocal.cli import cli
from parfocal.errors import FileError
from parfocal.stacks.labels import FocusLabel, find_label
from parfocal.stacks.page import Judged, shown_planes, write_page
from parfocal.stacks.recorder import StackRecorder
from parfocal.stacks.sets import read_stacks
from parfocal.stacks.stack import FocalStack

HOSTILE = """x" onload='a()'><img src=q onerror=alert(1)>&amp;$(touch gone);`id`"""
UPS_AND_DOWNS = [0.1, 0.2, 0.6, 1.0, 0.6, 0.2, 0.1, 0.2, 0.8, 0.3, 0.1]


def record(folder: Path, contrasts=UPS_AND_DOWNS, **keys: object) -> Path:
    """Stripes, whose contrast is the curve."""
    stripes = (np.arange(64) // 4 % 2 * 2 - 1)[None, :, None] * np.ones((48, 1, 3))
    with StackRecorder(folder) as recorder:
        for z, contrast in enumerate(contrasts):
            recorder.add((128 + 100 * contrast * stripes).astype(np.uint8), float(z))
        recorder.finish({"z_unit": "um", "label_state": "auto"} | keys)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "my stacks" / HOSTILE, slide="<b>1</b>", label_state="</section>")
    record(tmp_path / "my stacks" / "clear", UPS_AND_DOWNS[:7], best_z=3.0)
    return tmp_path / "my stacks"


def label(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["label", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def page(folder: Path, tmp_path: Path):
    """(text, as a tree) of the page of `folder`."""
    label(folder, "--html", tmp_path / "review.html")
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    return text, html.fromstring(text)


def test_it_needs_nothing_but_itself(page):
    text, tree = page
    assert all(address.startswith("data:image/jpeg;base64,") for address in tree.xpath("//@src"))
    assert all(link.startswith("#s") for link in tree.xpath("//@href"))
    assert "http:" not in text.lower()
    assert "https:" not in text.lower()


def test_a_browser_may_run_its_own_script_and_no_other(page):
    _, tree = page
    (policy,) = tree.xpath("//meta[@http-equiv]/@content")
    (script,) = tree.xpath("//script/text()")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_words_and_never_markup(page):
    _, tree = page
    assert len(tree.xpath("//section")) == 2
    assert not tree.xpath("//*[@onload or @onerror] | //b | //img[not(starts-with(@src, 'data:'))]")
    headings = [heading.text_content() for heading in tree.xpath("//h2")]
    assert any(text.startswith(HOSTILE) and "slide <b>1</b>" in text for text in headings)


def test_the_commands_to_copy_are_one_word_to_the_shell_for_each_decision(page, folder: Path):
    _, tree = page
    section = next(s for s in tree.xpath("//section") if HOSTILE in s.text_content())
    lines = [shlex.split(line) for line in section.xpath(".//pre")[0].text_content().splitlines()]
    assert lines == [
        ["parfocal", "label", str(folder), what]
        for what in (f"--confirm={HOSTILE}", f"--set={HOSTILE}=Z", f"--reject={HOSTILE}")
    ]


def test_a_click_on_a_plane_is_a_decision_that_the_program_takes(page, folder: Path):
    _, tree = page
    values = [shlex.split(value) for value in tree.xpath("//div[@class='planes']//input/@value")]
    assert [f"--set={HOSTILE}=8.0"] in values
    label(folder, f"--set={HOSTILE}=8.0")
    stack = next(stack for stack in read_stacks(folder) if stack.name == HOSTILE)
    assert (stack.best_z, stack.label_state) == (8.0, "corrected")


def test_planes_around_the_peak_and_around_each_suspected_one_are_shown(page):
    _, tree = page
    section = next(s for s in tree.xpath("//section") if HOSTILE in s.text_content())
    assert [image.get("alt") for image in section.xpath(".//img")] == [
        f"plane at {z} um" for z in (1, 2, 3, 4, 5, 7, 8, 9)
    ]
    assert [s.get("class") for s in section.xpath(".//div/label")].count("suspected") == 1
    assert "suspected peak at 8 um" in section.xpath(".//svg")[0].text_content()
    assert section.xpath(".//p[@class='doubts']")[0].text == "another peak at 8 um"
    encoded = section.xpath(".//img/@src")[0].partition(",")[2]
    assert cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


@pytest.mark.parametrize(("peak", "suspected", "shown"), [(0, (), [0, 1, 2]), (4, (3.0,), [2, 3, 4, 5])])
def test_planes_beyond_the_stack_are_not_shown_and_none_twice(peak, suspected, shown):
    score = np.zeros(6)
    score[peak] = 1.0
    assert shown_planes(FocusLabel(float(peak), np.arange(6.0), score, suspected, ())) == shown


def test_it_shows_what_was_just_decided_and_leads_to_the_doubtful(folder: Path, tmp_path: Path):
    out = label(folder, "--accept-single-peaks", "--html", tmp_path / "review.html", "--merit", "variance-of-laplacian")
    tree = html.fromstring((tmp_path / "review.html").read_text(encoding="utf-8"))
    assert "label 3" in out
    clear = next(s for s in tree.xpath("//section") if s.xpath(".//h2")[0].text.startswith("clear"))
    assert "confirmed" in clear.xpath(".//small")[0].text
    assert [link.text for link in tree.xpath("//p/a")] == [HOSTILE]
    assert tree.xpath("//textarea")[0].text.endswith("--merit variance-of-laplacian")


def test_names_that_are_no_text_and_places_that_cannot_be_written(tmp_path: Path):
    (stack,) = read_stacks(record(tmp_path / "stack"))
    odd = Judged(FocalStack("\udcff", "s", "recorded", stack.files, stack.z), find_label(stack), None, "auto")
    write_page([odd], ["parfocal", "label", "x"], tmp_path / "page.html")
    assert "Focal stacks: 1, in doubt: 1" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(FileError, match=r"page\.html: cannot be written"):
        write_page([odd], ["parfocal"], tmp_path / "nowhere" / "page.html")
