"""Any real image as a specimen: its optical density comes back in focus, and what is no image is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.optics import photograph
from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.photograph import Photograph, read_photograph
from parfocal.optics.specimen import Topography
from parfocal.optics.texture import Window
from parfocal.optics.transfer import Illumination

LEVEL = Topography()
PIXEL_UM = 0.345
SVS = Path(__file__).parents[2].parent / "shared" / "data" / "textures" / "cmu_small_region.svs"


def picture(rows: int = 160, columns: int = 200) -> np.ndarray:
    """A smooth RGB picture uint8 (Y, X, 3) with white in it."""
    rng = np.random.default_rng(3)
    density = cv2.GaussianBlur(rng.standard_normal((rows, columns, 3)).astype(np.float32), (0, 0), 5.0)
    density = np.clip(0.15 + 0.15 * density / density.std(), 0, None)
    return np.round(230 * 10**-density).astype(np.uint8)


@pytest.fixture
def picture_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))
    return path


def test_in_focus_the_picture_comes_back(picture_file: Path):
    source = picture()
    specimen = read_photograph(picture_file, PIXEL_UM, Topography(base_um=3.0))
    light = SlideOptics(specimen, Illumination(Objective(20, 0.75))).field(0.0, 0.0, source.shape[:2], PIXEL_UM)
    sharp, blurred = light.plane(3.0), light.plane(11.0)
    original = source / np.percentile(source, 99, axis=(0, 1))
    for channel in range(3):
        assert np.corrcoef(sharp[..., channel].ravel(), original[..., channel].ravel())[0, 1] > 0.99
        assert sharp[..., channel].mean() == pytest.approx(original[..., channel].mean(), abs=0.02)
    assert np.abs(sharp - original).mean() < 0.03
    assert blurred[..., 1].std() < 0.8 * sharp[..., 1].std()


def test_the_optical_density_is_against_the_pictures_own_white(picture_file: Path):
    specimen = read_photograph(picture_file, PIXEL_UM, LEVEL)
    assert specimen.density.shape == (160, 200, 3)
    assert specimen.density.dtype == np.float32
    assert specimen.density.min() == 0
    expected = -np.log10(picture() / np.percentile(picture(), 99, axis=(0, 1)))
    np.testing.assert_allclose(specimen.density, np.maximum(expected, 0), atol=0.01)


def test_the_picture_lies_over_the_origin_and_is_mirrored_at_its_edges():
    density = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
    specimen = Photograph(density, pixel_um=1.0)

    def seen(window: Window) -> np.ndarray:
        return specimen.layers(window, 0.81).density.sum(axis=0)

    middle = seen(Window(-30.0, -20.0, (40, 60), 1.0))
    np.testing.assert_allclose(middle, np.moveaxis(density, -1, 0), atol=1e-5)
    wide = seen(Window(-60.0, -40.0, (80, 120), 1.0))
    first_row, first_column, last_column = 20, 30, 89
    for away in (1, 5, 29):
        np.testing.assert_allclose(wide[..., last_column + away], wide[..., last_column - away], atol=1e-5)
        np.testing.assert_allclose(wide[..., first_column - away], wide[..., first_column + away], atol=1e-5)
    np.testing.assert_allclose(wide[:, first_row - 7], wide[:, first_row + 7], atol=1e-5)


@pytest.mark.skipif(not SVS.exists(), reason="the real slide is in ../shared/data, which is not here")
def test_a_slide_that_openslide_reads_has_its_own_pixel_size():
    specimen = read_photograph(SVS, 99.0, LEVEL)
    assert specimen.pixel_um == pytest.approx(0.499, abs=0.001)
    assert specimen.density.shape == (2967, 2220, 3)
    assert 0.02 < specimen.density[..., 1].mean() < 1.0


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"gone\.png is missing"):
        read_photograph(tmp_path / "gone.png", PIXEL_UM, LEVEL)


@pytest.mark.parametrize("content", [b"", b"not an image at all", bytes(2000)], ids=["empty", "text", "zeros"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"notes\.jpg"):
        read_photograph(path, PIXEL_UM, LEVEL)


@pytest.mark.parametrize("kind", [".png", ".jpg", ".tif"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str):
    path = tmp_path / f"cut{kind}"
    encoded = cv2.imencode(kind, picture())[1].tobytes()
    path.write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(FileError, match="cut"):
        read_photograph(path, PIXEL_UM, LEVEL)


@pytest.mark.skipif(not SVS.exists(), reason="the real slide is in ../shared/data, which is not here")
def test_a_truncated_slide_is_refused(tmp_path: Path):
    path = tmp_path / "cut.svs"
    content = SVS.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match=r"cut\.svs"):
        read_photograph(path, PIXEL_UM, LEVEL)


def test_too_many_pixels_are_refused_with_the_limit(picture_file: Path, monkeypatch: pytest.MonkeyPatch):
    assert photograph.MAX_PIXELS == 100_000_000
    monkeypatch.setattr(photograph, "MAX_PIXELS", 30_000)
    with pytest.raises(SettingsError, match=r"picture\.png has .* million pixels, more than"):
        read_photograph(picture_file, PIXEL_UM, LEVEL)


@pytest.mark.parametrize("pixel_um", [0.0, -1.0, 1000.0, float("nan")])
def test_a_pixel_size_that_cannot_be_is_refused(picture_file: Path, pixel_um: float):
    with pytest.raises(SettingsError, match=f"claims {pixel_um:g} µm per pixel"):
        read_photograph(picture_file, pixel_um, LEVEL)
