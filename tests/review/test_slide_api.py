"""Slides in the browser: gallery, tiles, overlays, and what a reader must not be told."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import cv2
import fsspec
import numpy as np
import pytest
from reviewing import PIXEL_UM, SECRET_NAME

from parfocal.errors import FileError
from parfocal.review.accounts.roles import Role
from parfocal.review.shelf.cache import BytesCache
from parfocal.review.shelf.opened import OpenSlides
from parfocal.slide.deepzoom import DeepZoom
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.formats.ome_tiff import write_ome_tiff
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide
from parfocal.slide.readers.ome_tiff import holds_only_a_picture

SVS = Path(__file__).parents[3] / "shared" / "data" / "textures" / "cmu_small_region.svs"
DESCRIPTION = SlideDescription("grey", "synthetic", 0.5, 20, 0.75, 1.0, "Parfocal")
SECRETS = (SECRET_NAME, "S-2026-0012", "blood-smear", "small")


@pytest.fixture
def browser(server):
    return server.local()


@pytest.fixture
def info(browser, slide_id):
    return browser.get(f"/api/slides/{slide_id}").json()


def decoded(answer):
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_health_answers_whoever_asks(server):
    server.add("anna")
    assert server.browser("http://elsewhere").get("/health").json() == {"status": "ok"}


def test_the_gallery_shows_each_slide_with_its_verdicts(browser, slide_id):
    page = browser.get("/").text
    assert f'href="/slides/{slide_id}"' in page
    assert "3 focused" in page
    assert "1 unsure" in page
    assert decoded(browser.get(f"/slides/{slide_id}/thumbnail.jpg")).shape[1] == 480


def test_a_slide_tells_its_size_and_scale(info):
    assert (info["width"], info["height"]) == (576, 432)
    assert info["pixel_size_um"] == pytest.approx(PIXEL_UM)
    assert info["magnification"] == 20


def test_every_tile_shows_its_part_of_the_slide(browser, info, slides):
    with Slide.open(slides / SECRET_NAME) as slide:
        zoom = DeepZoom(slide, info["tile_px"])
        assert zoom.level_count == info["levels"]
        for level, (columns, rows) in enumerate(zoom.level_tiles):
            for column, row in np.ndindex(columns, rows):
                tile = decoded(browser.get(f"{info['tiles']}{level}/{column}_{row}.jpg"))
                wanted = zoom.tile(level, column, row).astype(int)
                assert np.abs(tile - wanted).mean() < 10
                if level == zoom.level_count - 1:  # so this test can fail
                    assert np.abs(tile[::-1] - wanted).mean() > 20


def test_a_whole_tile_is_served_as_the_file_holds_it_and_others_are_made(slides, tmp_path):
    texture = np.full((600, 600, 3), 90, np.uint8)
    with Pyramid(level_shapes((600, 600)), tmp_path) as pyramid:
        pyramid.build(lambda x, y, width, height: texture[:height, :width])
        write_ome_tiff(tmp_path / "grey.ome.tif", pyramid, DESCRIPTION)
    with Slide.open(tmp_path / "grey.ome.tif") as slide:
        zoom = DeepZoom(slide)
        finest = zoom.level_count - 1
        stored = zoom.stored(finest, 1, 1)
        assert np.abs(cv2.imdecode(np.frombuffer(stored, np.uint8), 1)[..., ::-1].astype(int) - 90).max() <= 2
        assert zoom.stored(finest, 2, 1) is None  # at the edge it is padded
        assert zoom.stored(3, 0, 0) is None  # the file has no such level


@pytest.mark.parametrize("extra", [b"\xff\xfe\x00\x0asecret\x00\x00", b"\xff\xe1\x00\x0aExif\x00\x00\x00\x00"])
def test_a_jpeg_that_says_more_than_its_picture_is_not_served_as_it_is(extra):
    plain = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    assert holds_only_a_picture(plain)
    assert not holds_only_a_picture(plain[:2] + extra + plain[2:])
    assert not holds_only_a_picture(b"II*\0")
    assert not holds_only_a_picture(plain[:30])


def test_a_tile_is_kept_by_browsers_for_ever_and_asked_for_again_costs_nothing(browser, info):
    path = f"{info['tiles']}8/0_0.jpg"
    first = browser.get(path)
    assert first.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert first.headers["content-type"] == "image/jpeg"
    again = browser.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("place", ["99/0_0", "8/9_0", "-1/0_0", "8/0_-1", "8/x_0"])
def test_a_tile_that_there_is_not_is_told_so(browser, info, place):
    assert browser.get(f"{info['tiles']}{place}.jpg").status_code in (404, 422)


def test_a_slide_that_was_made_anew_has_other_tiles(slides, tmp_path, serve):
    shutil.copytree(slides, tmp_path / "copy")
    browser = serve(source=str(tmp_path / "copy")).local()
    (one,) = browser.get("/api/slides").json()
    old = browser.get(f"/api/slides/{one['id']}").json()["tiles"]
    os.utime(tmp_path / "copy" / SECRET_NAME / "slide.ome.tif", (1, 1))
    new = browser.get(f"/api/slides/{one['id']}").json()["tiles"]
    assert old != new
    assert browser.get(f"{old}8/0_0.jpg").status_code == 404
    assert browser.get(f"{new}8/0_0.jpg").status_code == 200


def test_a_slide_keeps_its_id_and_the_id_tells_nothing(server, slide_id):
    assert re.fullmatch(r"[0-9a-f]{12}", slide_id)
    assert server.restarted().services.shelf.slides()[0].id == slide_id


def test_overlays_lay_every_field_where_it_is_in_the_slide(browser, slide_id, info):
    told = browser.get(f"/api/slides/{slide_id}/overlays").json()
    assert told["registered"]
    assert [field["verdict"] for field in told["fields"]] == ["focused", "focused", "focused", "unsure"]
    corners = [(field["mosaic_x_px"], field["mosaic_y_px"]) for field in told["fields"]]
    assert corners == [pytest.approx(place, abs=0.5) for place in ((0, 0), (256, 0), (256, 192), (0, 192))]
    assert told["fields"][1]["focus_um"] == 2.0
    assert len(told["seams"]) == 4
    for seam in told["seams"]:
        assert 0 <= seam["x0"] <= info["width"]
        assert 0 <= seam["y1"] <= info["height"]


def test_without_a_registration_fields_lie_where_the_stage_says(slides, tmp_path, serve):
    shutil.copytree(slides, tmp_path / "copy")
    (tmp_path / "copy" / SECRET_NAME / "registration.json").unlink()
    browser = serve(source=str(tmp_path / "copy")).local()
    (one,) = browser.get("/api/slides").json()
    told = browser.get(f"/api/slides/{one['id']}/overlays").json()
    assert not told["registered"]
    assert (told["fields"][2]["mosaic_x_px"], told["fields"][2]["mosaic_y_px"]) == pytest.approx((256, 192))


def test_a_reader_is_never_told_what_a_slide_is_called(server, slide_id):
    reader = server.signed_in("raj")
    overlay = f"/api/slides/{slide_id}/overlays"
    paths = ["/", "/api/slides", f"/slides/{slide_id}", f"/api/slides/{slide_id}", overlay, "/openapi.json"]
    paths += [f"/slides/{slide_id}/thumbnail.jpg", reader.get(f"/api/slides/{slide_id}").json()["tiles"] + "8/0_0.jpg"]
    for path in paths:
        answer = reader.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, path
        for secret in SECRETS[:3]:
            assert secret.encode() not in answer.content, (path, secret)
            assert secret not in str(answer.headers), (path, secret)
    assert f"slide-{slide_id}" in reader.get("/").text


def test_who_may_know_sees_what_a_slide_is_called(server):
    assert SECRET_NAME in server.signed_in("mia", Role.OPERATOR).get("/").text


def test_a_reader_is_not_told_where_a_damaged_slide_lies(slides, tmp_path, serve):
    shutil.copytree(slides, tmp_path / "copy")
    (tmp_path / "copy" / SECRET_NAME / "slide.ome.tif").write_bytes(b"II*\0 no slide")
    reader = serve(source=str(tmp_path / "copy")).signed_in("raj")
    assert "cannot be read" in reader.get("/").text
    (one,) = reader.get("/api/slides").json()
    answer = reader.get(f"/api/slides/{one['id']}")
    assert answer.status_code == 404
    assert SECRET_NAME not in answer.text


def test_a_folder_that_cannot_be_looked_into_is_left_out_and_told_to_who_may_know(slides, tmp_path, serve, monkeypatch):
    """Its listing is refused, as to anybody but root."""
    shutil.copytree(slides, tmp_path / "copy")
    (tmp_path / "copy" / "lost+found").mkdir()
    listed = Path.iterdir

    def refused(path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    server = serve(source=str(tmp_path / "copy"))
    operator, reader = server.signed_in("mia", Role.OPERATOR), server.signed_in("raj")
    assert len(operator.get("/api/slides").json()) == 1
    assert "Left out: lost+found: Permission denied" in operator.get("/").text
    assert "lost+found" not in reader.get("/").text
    assert operator.get("/labelling").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/slides/../etc/passwd",
        "/slides/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static/../app.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2fpages.py",
        "/vendor/%2e%2e%2fpages.py",
        "/slides/000000000000/tiles/..%2f..%2f/8/0_0.jpg",
        "/api/slides/..%2f..%2fetc",
    ],
)
def test_no_path_leads_out_of_what_is_served(browser, path):
    answer = browser.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_every_answer_forbids_scripts_of_others_and_being_framed(browser):
    for path in ("/", "/health", "/static/style.css", "/nowhere"):
        policy = browser.get(path).headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_what_belongs_to_the_program_is_kept_by_browsers_and_asked_for_by_its_tag(browser):
    first = browser.get("/static/style.css")
    assert first.headers["cache-control"] == "no-cache"
    assert browser.get("/static/style.css", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert browser.get("/").headers["cache-control"] == "no-store"


def test_a_slide_that_is_not_stitched_is_not_offered_beside_another(slides, tmp_path, serve):
    shutil.copytree(slides, tmp_path / "copy")
    shutil.copytree(slides / SECRET_NAME, tmp_path / "copy" / "whole")
    shutil.copytree(slides / SECRET_NAME, tmp_path / "copy" / "fields-only")
    (tmp_path / "copy" / "fields-only" / "slide.ome.tif").unlink()
    browser = serve(source=str(tmp_path / "copy")).local()
    ids = {one["name"]: one["id"] for one in browser.get("/api/slides").json()}
    page = browser.get(f"/slides/{ids[SECRET_NAME]}").text
    assert ids["whole"] in page
    assert ids["fields-only"] not in page


def test_no_page_has_a_script_or_style_of_its_own(browser, slide_id):
    for path in ("/", f"/slides/{slide_id}", "/accounts", "/trail", "/account", "/sign-in"):
        page = browser.get(path).text
        assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=|javascript:", page), path


def test_a_slide_of_another_maker_opens(serve, tmp_path):
    if not SVS.is_file():
        pytest.skip(f"needs {SVS.name} of the shared data")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "other.svs").symlink_to(SVS)
    browser = serve(source=str(tmp_path / "slides")).local()
    (one,) = browser.get("/api/slides").json()
    told = browser.get(f"/api/slides/{one['id']}").json()
    assert (told["width"], told["height"], told["magnification"]) == (2220, 2967, 20)
    assert decoded(browser.get(f"{told['tiles']}11/0_0.jpg")).shape == (256, 256, 3)
    assert browser.get(f"/api/slides/{one['id']}/overlays").status_code == 404


def test_slides_at_a_url_are_served(slides, serve):
    made = slides.parent / "for-url"
    made.mkdir(exist_ok=True)
    with Pyramid(level_shapes((300, 400)), made) as pyramid:
        pyramid.build(lambda x, y, width, height: np.full((height, width, 3), 90, np.uint8))
        write_dzi(made / "grey.dzi", pyramid, DESCRIPTION)
    fsspec.filesystem("memory").put(f"{made}/", "/bucket/slides/", recursive=True)
    browser = serve(source="memory://bucket/slides").local()
    (one,) = browser.get("/api/slides").json()
    assert one["name"] == "grey.dzi"
    told = browser.get(f"/api/slides/{one['id']}").json()
    assert abs(int(decoded(browser.get(f"{told['tiles']}9/1_1.jpg"))[10, 10, 0]) - 90) <= 2


# Memory


def test_the_cache_never_holds_more_than_it_may_and_forgets_what_was_not_asked_for():
    cache = BytesCache(100)
    for number in range(10):
        cache.put(number, bytes(30))
        cache.get(0)
        assert cache.bytes <= 100
    assert cache.get(0) is not None
    assert cache.get(9) is not None
    assert cache.get(5) is None
    cache.put("too large", bytes(101))
    assert cache.get("too large") is None


def test_a_slide_is_closed_only_when_nobody_reads_it(slides, tmp_path):
    for name in ("a", "b"):
        shutil.copy(slides / SECRET_NAME / "slide.ome.tif", tmp_path / f"{name}.ome.tif")
    held = OpenSlides(most=1)
    with held.reading(tmp_path / "a.ome.tif", "1") as first:
        with held.reading(tmp_path / "b.ome.tif", "1"):
            pass
        assert first.zoom.tile(8, 0, 0).shape == (108, 144, 3)  # still open
    assert first.slide._tiff.filehandle.closed


def test_a_slide_that_opens_slowly_holds_up_nobody_but_who_wants_the_same_and_is_opened_once(slides, monkeypatch):
    """The slow one is open only when another one was, so it would not be if it stood in the way."""
    path, is_opening, other_is_open, asked = slides / SECRET_NAME / "slide.ome.tif", Event(), Event(), []
    open_slide = Slide.open

    def slow(source):
        asked.append(source)
        if source == "slow":
            is_opening.set()
            assert other_is_open.wait(timeout=20)
        return open_slide(path)

    monkeypatch.setattr(Slide, "open", slow)
    held = OpenSlides()

    def width(source):
        with held.reading(source, "1") as opened:
            return opened.slide.dimensions[0]

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(width, "slow") for _ in range(2)]
        assert is_opening.wait(timeout=20)
        quick = width("quick")
        other_is_open.set()
        assert {one.result(timeout=20) for one in waiting} == {quick}
    assert sorted(asked) == ["quick", "slow"]
    held.close()


def test_a_slide_that_could_not_be_opened_is_tried_again(tmp_path):
    held = OpenSlides()
    for _ in range(2):
        with pytest.raises(FileError), held.reading(tmp_path / "none.tif", "1"):
            pass
