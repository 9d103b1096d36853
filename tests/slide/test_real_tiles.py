"""Fields that a real microscope took: where they land, another method confirms."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.imported import ImportSettings, import_fields
from parfocal.slide.light.flatfield import estimate_flatfield
from parfocal.slide.registration.kept import registered

FIELDS = Path(__file__).parents[3] / "shared" / "data" / "fields"
HAND_MOVED_PX = (-860.0, 80.0)  # about where a hand moved the slide
needs_fields = pytest.mark.skipif(not FIELDS.is_dir(), reason="real tiles are not at ../shared/data/fields")


def only_seam(tmp_path, images, places_px):
    """Import two pictures with a pixel of 1 µm, register them, and return the seam."""
    (tmp_path / "tiles").mkdir(parents=True)
    lines = ["file,x_um,y_um"]
    for name, image, (x, y) in zip("ab", images, places_px, strict=True):
        cv2.imwrite(str(tmp_path / "tiles" / f"{name}.png"), image)
        lines.append(f"{name}.png,{x},{y}")
    (tmp_path / "tiles.csv").write_text("\n".join(lines))
    folder = import_fields(
        str(tmp_path / "tiles/*.png"), tmp_path / "tiles.csv", tmp_path / "fields", ImportSettings(1.0)
    )
    (seam,) = registered(folder, estimate_flatfield(FieldsFolder(folder.path))).seams
    return seam


def by_ecc(grey_a, grey_b, start_px):
    """Position of b against a by OpenCV's ECC in the part of the overlap that both surely show."""
    dx, dy = (round(value) for value in start_px)
    height, width = grey_a.shape
    margin = 20
    x0, x1 = max(0, dx) + margin, min(width, width + dx) - margin
    y0, y1 = max(0, dy) + margin, min(height, height + dy) - margin
    template = grey_a[y0:y1, x0:x1].astype(np.float32)
    warp = np.array([[1, 0, x0 - dx], [0, 1, y0 - dy]], np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 500, 1e-8)
    _, warp = cv2.findTransformECC(template, grey_b.astype(np.float32), warp, cv2.MOTION_TRANSLATION, criteria, None, 5)
    return x0 - float(warp[0, 2]), y0 - float(warp[1, 2])


@needs_fields
def test_two_tiles_of_a_mosaic_land_within_a_pixel_of_another_registration(tmp_path):
    czifile = pytest.importorskip("czifile")
    with czifile.CziFile(str(FIELDS / "mosaic_test.czi")) as czi:
        tiles = [entry.data_segment().data().squeeze() for entry in czi.subblock_directory]
    low, high = np.percentile(tiles, 0.1), np.percentile(tiles, 99.9)
    grey = [np.clip((tile - low) / (high - low) * 255, 0, 255).astype(np.uint8) for tile in tiles]
    seam = only_seam(tmp_path, [cv2.merge([g, g, g]) for g in grey], [(0, 0), (832, 0)])
    assert seam.accepted
    other = by_ecc(*grey, (825.0, -2.0))
    assert np.hypot(seam.dx - other[0], seam.dy - other[1]) < 1.0


def by_features(image_a, image_b):
    """Position of b against a, and the turn between them in degrees, by SIFT and RANSAC."""
    sift = cv2.SIFT_create(4000)
    (points_a, words_a), (points_b, words_b) = (sift.detectAndCompute(image, None) for image in (image_a, image_b))
    pairs = [m for m, second in cv2.BFMatcher().knnMatch(words_a, words_b, k=2) if m.distance < 0.7 * second.distance]
    at_a = np.array([points_a[m.queryIdx].pt for m in pairs])
    at_b = np.array([points_b[m.trainIdx].pt for m in pairs])
    similar, inside = cv2.estimateAffinePartial2D(at_b, at_a, ransacReprojThreshold=3)
    chosen = inside.ravel() > 0
    assert chosen.sum() > 50
    middle = np.median((at_a - at_b)[chosen], axis=0)
    return middle, float(np.degrees(np.arctan2(similar[1, 0], similar[0, 0])))


@needs_fields
@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [(1, 4), pytest.param(2, 3, marks=pytest.mark.long)])
def test_a_hand_moved_pair_registers_because_it_is_not_turned(tmp_path, one, other):
    images = [cv2.imread(str(FIELDS / f"dp_{number}.jpg")) for number in (one, other)]
    middle, turn = by_features(*images)
    assert abs(turn) < 0.05
    seam = only_seam(tmp_path, images, [(0, 0), HAND_MOVED_PX])
    assert seam.accepted
    assert np.hypot(seam.dx - middle[0], seam.dy - middle[1]) < 2.0  # the lens stretches what they share by 2 px


@needs_fields
@pytest.mark.slow
@pytest.mark.parametrize(
    "degrees", [1.0, *(pytest.param(degrees, marks=pytest.mark.long) for degrees in (0.3, 2.0, 5.0))]
)
def test_the_same_pair_turned_is_refused_with_its_reason(tmp_path, degrees):
    images = [cv2.imread(str(FIELDS / f"dp_{number}.jpg")) for number in (1, 4)]
    height, width = images[1].shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    images[1] = cv2.warpAffine(images[1], turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    seam = only_seam(tmp_path, images, [(0, 0), HAND_MOVED_PX])
    assert not seam.accepted
    assert seam.reason == ("turned" if degrees < 2 else seam.reason)
    assert seam.reason in ("turned", "chance")
