"""The labelling page: stacks, their planes and curves, and what somebody decides."""

import json
import shutil

import cv2
import numpy as np
import pytest
from reviewing import Server

from parfocal.review.accounts.roles import Role
from parfocal.review.settings import ServeSettings
from parfocal.stacks.sets import read_stacks


@pytest.fixture
def folder(tmp_path, recorded_stack):
    for name in ("a", "b"):
        shutil.copytree(recorded_stack, tmp_path / "slides" / "stacks" / name)
    return tmp_path / "slides"


@pytest.fixture
def server(folder):
    return Server(ServeSettings(str(folder)))


@pytest.fixture
def browser(server):
    return server.local()


def judge(browser, **decision):
    return browser.post("/api/stacks/label", json={"place": "stacks/a", **decision})


def read(folder, name="a"):
    (stack,) = read_stacks(folder / "stacks" / name)
    return stack


def test_the_page_shows_the_first_stack_that_nobody_has_judged(browser):
    page = browser.get("/labelling").text
    assert "2 of 2 to judge" in page
    assert 'data-place="stacks/a"' in page
    assert "<svg" in page
    judge(browser, state="rejected")
    assert 'data-place="stacks/b"' in browser.get("/labelling").text


def test_every_plane_is_shown(browser, folder):
    stack = read(folder)
    for index in (0, 7, len(stack.z) - 1):
        picture = browser.get(f"/labelling/plane.jpg?stack=stacks/a&index={index}").content
        shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.abs(shown.astype(int) - stack.plane(index)).mean() < 5
    for index in (-1, 11):
        assert browser.get(f"/labelling/plane.jpg?stack=stacks/a&index={index}").status_code == 422


def test_a_confirmed_stack_gets_the_peak_of_its_curve(browser, folder):
    told = judge(browser, state="confirmed").json()
    assert told["best_z"] == pytest.approx(0, abs=1)
    assert told["next"] == "stacks/b"
    stack = read(folder)
    assert (stack.label_state, stack.best_z) == ("confirmed", told["best_z"])


def test_a_corrected_stack_gets_the_place_that_was_said(browser, folder):
    assert judge(browser, state="corrected", z=-4.0).json()["best_z"] == -4
    assert (read(folder).label_state, read(folder).best_z) == ("corrected", -4.0)


def test_a_rejected_stack_keeps_its_label_and_is_left_out(browser, folder):
    judge(browser, state="rejected")
    assert (read(folder).label_state, read(folder).best_z) == ("rejected", 0.0)


def test_what_was_decided_and_by_whom_stands_in_the_trail(server):
    operator = server.signed_in("mia", Role.OPERATOR)
    server.add("root")
    judge(operator, state="rejected")
    assert "stack rejected" in server.signed_in("boss", Role.ADMIN).get("/trail").text


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        ({"state": "corrected", "z": 99.0}, 422),
        ({"state": "corrected"}, 422),
        ({"state": "auto"}, 422),
        ({"state": "confirmed", "place": "../secret"}, 404),
        ({"state": "confirmed", "place": "stacks"}, 404),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(browser, folder, decision, status):
    before = (folder / "stacks" / "a" / "stack.json").read_text()
    assert judge(browser, **decision).status_code == status
    assert (folder / "stacks" / "a" / "stack.json").read_text() == before


def test_a_stack_elsewhere_is_not_shown(browser, folder):
    (folder.parent / "secret").mkdir()
    shutil.copytree(folder / "stacks" / "a", folder.parent / "secret" / "c")
    assert browser.get("/labelling/plane.jpg?stack=../secret/c&index=0").status_code == 404
    assert browser.get("/labelling?stack=../secret/c").status_code == 404


def test_a_folder_without_stacks_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "parfocal collect" in Server(ServeSettings(str(tmp_path / "empty"))).local().get("/labelling").text


def test_a_damaged_description_is_told_and_the_other_stacks_are_judged(browser, folder):
    (folder / "stacks" / "a" / "stack.json").write_text("{")
    states = {one["place"]: one["label_state"] for one in browser.get("/api/stacks").json()}
    assert states == {"stacks/a": "damaged", "stacks/b": "auto"}
    page = browser.get("/labelling").text
    assert 'data-place="stacks/b"' in page
    assert "damaged" in page
    assert browser.get("/labelling?stack=stacks/a").status_code == 404
    (folder / "stacks" / "b" / "stack.json").write_text("{")
    assert "stacks/b cannot be read" in browser.get("/labelling").text


def test_only_who_may_operate_labels(server):
    reader = server.signed_in("raj")
    assert reader.get("/labelling").status_code == 403
    assert judge(reader, state="rejected").status_code == 403
    assert json.loads(reader.get("/api/slides").text) == []
