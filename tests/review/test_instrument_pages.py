"""The instrument's page: looks, moves within limits, scans, pauses, stops, and takes doubtful fields again."""

import asyncio
import json
import re
import threading
import time
from dataclasses import replace
from threading import Timer

import pytest
from reviewing import Server, post, write_scan
from starlette.requests import Request
from studying import Study, write_slides

from knowing import Knowing
from parfocal.cli.bench import InstrumentBench, bench_opener
from parfocal.config import Instrument
from parfocal.errors import InstrumentError
from parfocal.review.accounts.roles import Role
from parfocal.review.settings import ServeSettings
from parfocal.review.web import instrument_pages
from parfocal.slide.fields.folder import FieldsFolder

AREA = {"width_mm": 0.15, "height_mm": 0.1}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slides").mkdir()
    return tmp_path / "slides"


@pytest.fixture
def server(folder, small_toml, monkeypatch):
    monkeypatch.setattr(Instrument, "predictor", lambda instrument, network=None: Knowing(instrument))
    opened = Server(ServeSettings(str(folder)), bench_opener(small_toml(), None))
    yield opened
    opened.services.desk.close()
    opened.services.shelf.close()


@pytest.fixture
def browser(server):
    browser = server.local()
    browser.post("/api/instrument/specimen", json={"specimen": "blood-smear", "seed": 3})
    return browser


@pytest.fixture
def lamp(server):
    return lambda: server.services.desk.bench.dark().lamp.is_on


def until(browser, *states, within_s=60):
    """The status once its state is one of these."""
    patience_s = time.monotonic() + within_s
    while time.monotonic() < patience_s:
        status = browser.get("/api/instrument").json()
        if status["state"] in states:
            return status
        time.sleep(0.02)
    raise AssertionError(status)


def test_a_scan_is_started_and_its_slide_stands_in_the_gallery(browser, folder, lamp):
    assert browser.post("/api/instrument/scan", json={"name": "mine", **AREA}).status_code == 202
    status = until(browser, "done", "failed")
    assert status["words"].startswith("Done: 4 fields, 0 in doubt")
    assert (status["fields_done"], status["specimen"]) == (4, "blood-smear")
    assert len(FieldsFolder(folder / "mine").records) == 4
    assert f"/slides/{status['slide']}" in browser.get("/").text
    assert browser.get("/instrument/mosaic.jpg").content.startswith(b"\xff\xd8")
    assert not lamp()
    assert "scan started" in browser.get("/trail").text
    answer = browser.get("/api/instrument/events?limit=1")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = json.loads(re.search(r"^data: (.*)$", answer.text, re.MULTILINE)[1])
    assert (told["state"], told["fields"]) == ("done", 4)


def test_what_drifted_is_told_until_the_next_scan_begins(browser, server, monkeypatch):
    told = {"fields": 4, "fields_in_doubt": [], "images_total": 9}
    reports = iter([{**told, "drift": {"warnings": ["the light changed by -6.0%"]}}, told])  # of an older version
    monkeypatch.setattr(InstrumentBench, "scan", lambda *_: next(reports))
    assert 'id="warnings"' in browser.get("/instrument").text
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    assert until(browser, "done", "failed")["warnings"] == ["the light changed by -6.0%"]
    assert browser.post("/api/instrument/jog", json={"dx_um": 10}).json()["warnings"]
    browser.post("/api/instrument/scan", json={"name": "other", **AREA})
    assert until(browser, "done", "failed")["warnings"] == []


@pytest.mark.slow
def test_a_paused_scan_waits_with_its_lamp_off_and_goes_on(browser, server, lamp, folder):
    server.services.desk._progress = _pausing_after_the_first(server.services.desk)
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    until(browser, "paused")
    patience_s = time.monotonic() + 20
    while lamp() and time.monotonic() < patience_s:
        time.sleep(0.02)
    assert not lamp()
    done = browser.get("/api/instrument").json()["fields_done"]
    time.sleep(0.5)
    assert browser.get("/api/instrument").json()["fields_done"] == done < 4
    browser.post("/api/instrument/resume", json={})
    assert until(browser, "done")["fields_done"] == 4


def _pausing_after_the_first(desk):
    progress = desk._progress

    def make():
        told = progress()

        def pausing(now):
            told(now)
            if now.fields_done == 1:
                desk.pause()

        return pausing

    return make


def put_under(browser, seed):
    assert browser.post("/api/instrument/specimen", json={"specimen": "blood-smear", "seed": seed}).status_code == 200


@pytest.mark.slow
def test_a_stopped_scan_keeps_what_it_has_and_is_gone_on_with(browser, server, folder, lamp, small_toml):
    """Over the same slide, by the same instrument: others are told what is wrong, and change nothing."""
    desk = server.services.desk
    desk._progress = _pausing_after_the_first(desk)
    browser.post("/api/instrument/scan", json={"name": "mine", "width_mm": 0.15, "height_mm": 0.08})
    until(browser, "paused")
    browser.post("/api/instrument/stop", json={})
    status = until(browser, "stopped")
    assert status["words"].startswith("Stopped: ")
    assert status["broken_off"] == ["mine"]
    assert not lamp()
    assert "not stitched yet" in browser.get("/").text
    del desk._progress
    before = (folder / "mine" / "fields.jsonl").read_bytes()
    assert len(FieldsFolder(folder / "mine").records) == 1

    def gone_on():
        assert browser.post("/api/instrument/go-on", json={"name": "mine"}).status_code == 202
        return until(browser, "done", "failed", "stopped")

    put_under(browser, seed=4)
    assert "its seed was 3, and is 4" in gone_on()["words"]
    same, desk._open_bench = desk._open_bench, bench_opener(small_toml('name = "small"', 'name = "tiny"'), None)
    put_under(browser, seed=3)
    assert "its instrument was 'small', and is 'tiny'" in gone_on()["words"]
    assert (folder / "mine" / "fields.jsonl").read_bytes() == before
    desk._open_bench = same
    put_under(browser, seed=3)
    status = gone_on()
    assert status["words"].startswith("Done: 2 fields")
    assert status["broken_off"] == []
    assert len(FieldsFolder(folder / "mine").records) == 2
    assert (folder / "mine" / "fields.jsonl").read_bytes().startswith(before)
    assert not lamp()
    assert f"/slides/{status['slide']}" in browser.get("/").text
    assert "scan resumed" in browser.get("/trail").text
    assert browser.post("/api/instrument/jog", json={"dx_um": 10}).status_code == 200  # the devices stay open


def test_only_a_scan_that_is_there_is_gone_on_with_or_taken_again(browser, folder):
    write_scan(folder / "photographs")  # fields without a plan
    for path in ("go-on", "rescan"):
        for name in ("nothing", "../slides", "", "photographs"):
            answer = browser.post(f"/api/instrument/{path}", json={"name": name})
            assert answer.status_code == 404, (path, name)
            assert "here" in answer.json()["detail"]


def test_one_scan_at_a_time_and_no_jog_meanwhile(browser, server):
    server.services.desk._progress = _pausing_after_the_first(server.services.desk)
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    until(browser, "paused")
    for path, body in (
        ("scan", {"name": "other", **AREA}),
        ("jog", {"dx_um": 1}),
        ("specimen", {"specimen": "marrow"}),
        ("rescan", {"name": "mine"}),
        ("go-on", {"name": "mine"}),
    ):
        answer = browser.post(f"/api/instrument/{path}", json=body)
        assert answer.status_code == 409, path
        assert "busy" in answer.json()["detail"]
    browser.post("/api/instrument/stop", json={})
    until(browser, "stopped")


def test_no_field_of_a_slide_is_taken_again_while_readers_are_shown_it(folder, small_toml, monkeypatch):
    write_slides(folder)
    (folder / "doe-0-scan" / "report.json").write_text('{"fields_in_doubt": [1]}')
    study = Study(Server(ServeSettings(str(folder)), bench_opener(small_toml(), None)))
    operator = study.server.signed_in("oskar", Role.OPERATOR)
    monkeypatch.setattr(instrument_pages, "broken_off", lambda shelf: ["doe-0-scan"])
    for path in ("rescan", "go-on"):
        answer = operator.post(f"/api/instrument/{path}", json={"name": "doe-0-scan"})
        assert answer.status_code == 409
        assert "read in a running study" in answer.json()["detail"]
    study.server.services.desk.close()
    study.server.services.shelf.close()


@pytest.mark.slow
def test_an_earlier_scan_is_never_replaced(browser, folder):
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    until(browser, "done")
    before = (folder / "mine" / "fields.jsonl").read_bytes()
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    assert "not empty" in until(browser, "failed")["words"]
    assert (folder / "mine" / "fields.jsonl").read_bytes() == before


@pytest.mark.slow
def test_fields_in_doubt_are_taken_again(browser, folder):
    browser.post("/api/instrument/scan", json={"name": "mine", **AREA})
    until(browser, "done")
    report = json.loads((folder / "mine" / "report.json").read_text())
    (folder / "mine" / "report.json").write_text(json.dumps({**report, "fields_in_doubt": [2]}))
    assert browser.post("/api/instrument/rescan", json={"name": "mine"}).status_code == 202
    assert until(browser, "done", "failed")["state"] == "done"
    assert [record.attempt for record in FieldsFolder(folder / "mine").records if record.index == 2] == [2]


def test_jog_moves_by_so_much(browser):
    before = browser.get("/api/instrument").json()
    after = browser.post("/api/instrument/jog", json={"dx_um": 100, "dy_um": -50, "dz_um": 2.5}).json()
    moved = [after[axis] - before[axis] for axis in ("x_um", "y_um", "z_um")]
    assert moved == pytest.approx([100, -50, 2.5], abs=0.01)


@pytest.mark.parametrize("by", [{"dz_um": 200}, {"dx_um": 5, "dz_um": -200}, {"dx_um": 5, "dy_um": 1e6}])
def test_a_jog_beyond_a_limit_moves_nothing_at_all(browser, by):
    before = browser.get("/api/instrument").json()
    answer = browser.post("/api/instrument/jog", json=by)
    assert answer.status_code == 409
    assert "outside the limits" in answer.json()["detail"]
    after = browser.get("/api/instrument").json()
    assert all(after[axis] == before[axis] for axis in ("x_um", "y_um", "z_um"))


@pytest.mark.slow
def test_a_jog_that_had_to_wait_for_a_scan_moves_nothing(browser, server, monkeypatch):
    desk = server.services.desk
    devices = desk._devices

    class AfterAScan:
        """The lock, taken by a whole scan between the jog's call and its turn."""

        def __enter__(self):
            desk._devices = devices
            desk.scan("mine", (0.15, 0.1), "")
            desk._thread.join()
            self.stands_um = desk.bench.dark().xy.position_um
            devices.acquire()

        def __exit__(self, *_):
            devices.release()

    desk._devices = lock = AfterAScan()
    with pytest.raises(InstrumentError, match="a scan came first: nothing was moved"):
        desk.jog(50.0, 0.0, 0.0)
    assert desk.bench.dark().xy.position_um == lock.stands_um


def test_a_jog_that_does_not_arrive_is_told_of(browser, server):
    server.services.desk.bench.dark().xy.move_to = lambda x_um, y_um: None
    answer = browser.post("/api/instrument/jog", json={"dx_um": 100})
    assert answer.status_code == 409
    assert "100.0 µm from where it was sent" in answer.text


def test_a_lamp_that_only_a_hand_can_put_out_is_not_called_off(server):
    desk = server.services.desk
    instrument = desk.bench.instrument
    by_hand = replace(instrument, microscope=replace(instrument.microscope, lamp_by_hand=True))
    desk._bench = replace(desk.bench, instrument=by_hand)
    desk._tell(state="scanning")
    desk.pause()
    assert desk.status.words == "Paused. Switch the lamp off by hand."
    desk._tell(state="idle")


def test_another_specimen_is_put_under_the_lens_while_somebody_watches(browser, server):
    desk, over = server.services.desk, threading.Event()

    def watch():
        while not over.wait(0.02):
            desk.watch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        put_under(browser, 5)
    finally:
        over.set()
        watcher.join()
    assert desk.status.words == "blood-smear lies under the lens."


def test_the_live_view_shows_frames_and_puts_the_lamp_out_when_nobody_watches(browser, lamp):
    answer = browser.get("/instrument/live.mjpg?limit=2")
    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
    assert answer.content.count(b"--frame") == 2
    assert answer.content.count(b"\xff\xd8\xff") == 2
    patience_s = time.monotonic() + 20
    while lamp() and time.monotonic() < patience_s:
        time.sleep(0.1)
    assert not lamp()


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "../out", **AREA},
        {"name": "a/b", **AREA},
        {"name": ".hidden", **AREA},
        {"name": "", **AREA},
        {"name": "mine", "width_mm": 0, "height_mm": 1},
        {"name": "mine", "width_mm": 1, "height_mm": 1e9},
    ],
)
def test_a_scan_that_cannot_be_is_refused(browser, wanted, folder):
    assert browser.post("/api/instrument/scan", json=wanted).status_code == 422
    assert not any(path.is_dir() for path in folder.iterdir())


def test_an_area_beyond_the_stage_is_told(browser):
    browser.post("/api/instrument/scan", json={"name": "mine", "width_mm": 100, "height_mm": 100})
    assert "outside the stage's" in until(browser, "failed")["words"]


def test_only_who_may_operate_sees_the_instrument(server):
    reader = server.signed_in("raj", Role.READER)
    assert ">Instrument<" not in reader.get("/").text
    assert reader.get("/instrument").status_code == 403
    assert reader.get("/api/instrument").status_code == 403
    assert reader.post("/api/instrument/jog", json={"dx_um": 1}).status_code == 403
    assert ">Instrument<" in server.signed_in("mia", Role.OPERATOR).get("/").text


def ends_within_5_s(server, stream, browser):
    """Whether one of the page's streams ends by itself, as this browser's."""

    async def receive():
        await asyncio.Event().wait()

    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    headers = [(b"host", b"127.0.0.1"), (b"cookie", cookie)]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "app": server.app}
    request, desk = Request(scope, receive), server.services.desk
    streams = {
        "events": lambda: instrument_pages._events(request, server.services, desk, 0),
        "live": lambda: instrument_pages._frames(request, desk, 0),
    }

    async def all_of_it():
        return [piece async for piece in streams[stream]()]

    async def within():
        await asyncio.wait_for(all_of_it(), 5)

    try:
        asyncio.run(within())
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("stream", ["events", "live"])
def test_a_stream_ends_with_the_account_and_with_the_server(server, stream):
    root, mia = server.signed_in("root", Role.ADMIN), server.signed_in("mia", Role.OPERATOR)
    timer = Timer(0.3, lambda: post(root, "/accounts", "/accounts/mia/disable"))
    timer.start()
    assert ends_within_5_s(server, stream, mia)
    timer.join()
    Timer(0.3, server.services.desk.end_streams).start()
    assert ends_within_5_s(server, stream, root)


@pytest.mark.parametrize("path", ["/instrument/live.mjpg?limit=1", "/api/instrument/events?limit=1"])
def test_another_sites_page_cannot_light_the_lamp(browser, lamp, path):
    answer = browser.get(path, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert not lamp()


def test_the_trail_tells_only_of_what_happened(browser, server, monkeypatch):
    browser.post("/api/instrument/stop")
    browser.post("/api/instrument/pause")

    def busy(*_):
        raise InstrumentError("a scan came first")

    monkeypatch.setattr(server.services.desk, "scan", busy)
    assert browser.post("/api/instrument/scan", json={"name": "mine", **AREA}).status_code == 409
    trail = browser.get("/trail").text
    assert not [told for told in ("scan stopped", "scan paused", "scan started") if told in trail]


def test_without_a_microscope_there_is_no_such_page(folder):
    browser = Server(ServeSettings(str(folder))).local()
    assert ">Instrument<" not in browser.get("/").text
    assert browser.get("/api/instrument").status_code == 404
