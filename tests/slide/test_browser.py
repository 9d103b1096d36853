"""OpenSeadragon in a headless browser shows the right part of a slide, by exported tiles and tiles made on demand."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.slide.deepzoom import DeepZoom
from parfocal.slide.formats.description import SlideDescription
from parfocal.slide.formats.dicom import write_dicom
from parfocal.slide.formats.dzi import write_dzi
from parfocal.slide.pyramid import Pyramid, level_shapes
from parfocal.slide.reader import Slide

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")

pytestmark = pytest.mark.slow

OPENSEADRAGON = "openseadragon@6.1.1"  # BSD-3; fetched for the test, never part of the repository
CHROMIUM = shutil.which("chromium")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SHAPE = (1100, 1500)
WINDOW = (400, 300)  # px, as wide and high as the regions below or half of them
PAGE = """<!DOCTYPE html>
<style>html, body, #viewer {{ margin: 0; width: {0}px; height: {1}px; background: white }}</style>
<div id="viewer"></div>
<script src="openseadragon.min.js"></script>
<script>
const viewer = OpenSeadragon({{
    id: "viewer", tileSources: "slide.dzi", drawer: "canvas", showNavigationControl: false, animationTime: 0,
    blendTime: 0, immediateRender: true, minPixelRatio: 1, visibilityRatio: 0
}});
function show(x, y, width, height) {{
    const image = viewer.world.getItemAt(0);
    viewer.viewport.fitBounds(image.imageToViewportRectangle(x, y, width, height), true);
    viewer.forceRedraw();
}}
function shown() {{
    const image = viewer.world.getItemAt(0);
    return Boolean(image) && image.getFullyLoaded() && !viewer.world.needsDraw();
}}
</script>
"""


@pytest.fixture(scope="module")
def openseadragon(tmp_path_factory) -> bytes:
    """The viewer's script, from the npm registry."""
    if not shutil.which("npm"):
        pytest.skip("needs npm, to fetch OpenSeadragon")
    folder = tmp_path_factory.mktemp("npm")
    done = subprocess.run(["npm", "pack", OPENSEADRAGON], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm does not get OpenSeadragon: {done.stderr.strip().splitlines()[-1:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        script = packed.extractfile("package/build/openseadragon/openseadragon.min.js")
        assert script is not None
        return script.read()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs chromium, of Debian's package of that name")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def slides(tmp_path_factory, synthetic_scan) -> Path:
    """A folder with `slide.dzi` and `dicom/` of the same texture."""
    folder = tmp_path_factory.mktemp("slides")
    texture = synthetic_scan(rows=1, columns=1, frame_shape=SHAPE).texture[: SHAPE[0], : SHAPE[1]]
    description = SlideDescription("texture", "synthetic", 0.345, 20, 0.75, 1.0, "Parfocal")
    with Pyramid(level_shapes(SHAPE), folder) as pyramid:
        pyramid.build(lambda x, y, width, height: texture[y : y + height, x : x + width])
        write_dzi(folder / "slide.dzi", pyramid, description)
        write_dicom(folder / "dicom", pyramid, description)
    return folder


class Server(ThreadingHTTPServer):
    """Serves the page, the viewer and a slide on the loopback address; the tiles by a function of their path."""

    def __init__(self, content) -> None:
        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                found = content(self.path.lstrip("/"))
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"


def static(folder: Path):
    """What a plain web server gives of an exported DZI."""

    def content(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return content


def on_demand(slide: Slide):
    """Tiles made when they are asked for, of a slide of any format."""
    zoom = DeepZoom(slide)

    def content(path: str) -> bytes | None:
        if path == "slide.dzi":
            return zoom.dzi("png").encode()
        level, _, place = path.removeprefix("slide_files/").removesuffix(".png").partition("/")
        if not level.isdigit():
            return None
        column, row = map(int, place.split("_"))
        return cv2.imencode(".png", zoom.tile(int(level), column, row)[..., ::-1])[1].tobytes()

    return content


@pytest.fixture(params=["dzi", "dicom on demand"])
def show(request, slides, openseadragon, browser) -> Iterator:
    """Show a region of level 0 in the viewer's window: `show(x, y, width, height)` returns the screenshot."""
    with Slide.open(slides / "dicom") as slide:
        tiles = static(slides) if request.param == "dzi" else on_demand(slide)
        pages = {"": PAGE.format(*WINDOW).encode(), "openseadragon.min.js": openseadragon}
        with Server(lambda path: pages[path] if path in pages else tiles(path)) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
            page.route(lambda url: not url.startswith(server.address), lambda route: route.abort())
            page.goto(server.address)
            page.wait_for_function("shown()", timeout=30_000)

            def shot(x: int, y: int, width: int, height: int) -> np.ndarray:
                page.evaluate(f"show({x}, {y}, {width}, {height})")
                page.wait_for_function("shown()", timeout=30_000)
                page.wait_for_timeout(200)
                return cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)

            try:
                yield shot
            finally:
                page.close()
                server.shutdown()
                thread.join()


def difference(shown: np.ndarray, region: np.ndarray) -> float:
    """Mean difference in grey levels, blurred: OpenSeadragon draws tiles that do not overlap one pixel larger."""
    return float(np.abs(cv2.GaussianBlur(shown.astype(float) - region, (0, 0), 2)).mean())


REGIONS = [(0, 400, 300), (1, 800, 600)]


@pytest.mark.parametrize(("level", "width", "height"), REGIONS)
def test_the_viewer_shows_the_region_that_the_reader_reads(show, slides, level, width, height):
    with Slide.open(slides / "slide.dzi") as slide:
        for x, y in ((0, 0), (612, 340), (700, 500)):
            shown = show(x, y, width, height)
            assert difference(shown, slide.read_region((x, y), level, WINDOW)) < 4
            for dx, dy in ((8, 0), (0, 8), (-256, 0)):  # so this test can fail
                assert difference(shown, slide.read_region((x + dx, y + dy), level, WINDOW)) > 12


def test_the_viewer_zooms_out_to_the_whole_slide(show, slides):
    with Slide.open(slides / "slide.dzi") as slide:
        whole = slide.read_region((0, 0), 2, (375, 275))
    shown = show(0, 0, 1600, 1200)  # a quarter of its size, in the window's corner
    assert difference(shown[:275, :375], whole) < 4
    assert (shown[280:] == 255).all()
    assert (shown[:, 380:] == 255).all()
