"""A scan cut from a made-up texture, with every true position known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import pytest

from parfocal.slide.fields.folder import FieldsFolder
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

PIXEL_UM = 0.345


@dataclass(frozen=True)
class SyntheticScan:
    folder: FieldsFolder
    true_xy_um: np.ndarray  # (N, 2), field centres
    texture: np.ndarray  # uint8 (Y, X, 3), the evenly lit specimen; texture px are mosaic px
    shading: np.ndarray  # float (Y, X), relative illumination of a frame, mean 1
    texture_xy_px: np.ndarray  # (N, 2), true top left corners in the texture


@lru_cache(maxsize=4)
def texture_of(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Stained specimen on glass: noise of several scales and dark blobs, as optical density."""
    rng = np.random.default_rng(seed)
    density = np.zeros(shape, np.float32)
    for sigma, amount in ((1.5, 0.05), (4, 0.06), (12, 0.06), (40, 0.08)):
        noise = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)
        density += amount * noise / noise.std()
    blobs = np.zeros(shape, np.float32)
    for x, y, radius in rng.uniform((0, 0, 3), (shape[1], shape[0], 7), (shape[0] * shape[1] // 800, 3)):
        cv2.circle(blobs, (int(x), int(y)), int(radius), 0.5, -1, cv2.LINE_AA)
    density = np.clip(density + 0.25 + cv2.GaussianBlur(blobs, (0, 0), 1.2), 0, None)
    stain = np.array([0.6, 1.0, 0.7], np.float32)
    return np.round(225 * 10 ** (-density[..., None] * stain)).astype(np.uint8)


def shading_of(shape: tuple[int, int], depth: float) -> np.ndarray:
    """Vignetting that takes `depth` of the light in the farthest corner, its centre off the frame's."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot((y / shape[0] - 0.45), (x / shape[1] - 0.53))
    shading = 1 - depth * (distance / distance.max()) ** 2
    return shading / shading.mean()


@pytest.fixture(scope="session")
def synthetic_scan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SyntheticScan]:
    """Make a scan: `synthetic_scan(rows, columns, ...)`."""

    def make(
        rows: int = 4,
        columns: int = 4,
        frame_shape: tuple[int, int] = (256, 320),
        overlap: float = 0.2,
        stage_error_um: float = 3.0,
        vignetting: float = 0.2,
        noise: float = 2.0,
        empty: tuple[int, ...] = (),
        missing: tuple[int, ...] = (),
        seed: int = 1,
        truth: bool = True,
        texture: np.ndarray | None = None,
    ) -> SyntheticScan:
        rng = np.random.default_rng(seed)
        height, width = frame_shape
        margin = int(3 * stage_error_um / PIXEL_UM) + 8
        step_x, step_y = round(width * (1 - overlap)), round(height * (1 - overlap))
        shape = (height + step_y * (rows - 1) + 2 * margin, width + step_x * (columns - 1) + 2 * margin)
        if texture is None:
            texture = texture_of(shape, seed)
        shading = shading_of(frame_shape, vignetting)
        header = FieldsHeader(
            version="0.1.0",
            seed=seed,
            microscope="synthetic",
            specimen="texture",
            pixel_size_um=PIXEL_UM,
            frame_shape=frame_shape,
            magnification=20,
            na=0.75,
            immersion_index=1.0,
            depth_of_field_um=1.21,
            rows=rows,
            columns=columns,
            overlap=overlap,
        )
        path = tmp_path_factory.mktemp("scan") / "fields"
        true_xy_um, corners = [], []
        with FieldsWriter(path, header) as writer:
            for index in range(rows * columns):
                if index in missing:
                    continue
                row, column = divmod(index, columns)
                column = column if row % 2 == 0 else columns - 1 - column  # serpentine
                error = np.clip(rng.normal(0, stage_error_um / PIXEL_UM, 2), -margin + 4, margin - 4)
                planned = np.array([margin + column * step_x, margin + row * step_y], float)
                corner = np.round((planned + error) * 32) / 32  # what the warp below resolves
                move = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]]])
                flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
                ideal = cv2.warpAffine(texture, move, (width, height), flags=flags).astype(float)
                if index in empty:
                    ideal = np.full_like(ideal, 225)
                light = ideal * shading[..., None] * 1.0 + rng.normal(0, noise, ideal.shape)
                centre = np.array([width, height]) / 2
                stage_x, stage_y = (planned + centre) * PIXEL_UM
                true = (corner + centre) * PIXEL_UM
                true_xy_um.append(true)
                corners.append(corner)
                record = FieldRecord(
                    index=index,
                    row=row,
                    column=column,
                    stage_x_um=float(stage_x),
                    stage_y_um=float(stage_y),
                    stage_z_um=0.0,
                    verdict="empty" if index in empty else "focused",
                    images=2,
                    true_stage_um=(float(true[0]), float(true[1]), 0.0) if truth else None,
                )
                writer.put(record, np.clip(np.round(light), 0, 255).astype(np.uint8))
        return SyntheticScan(FieldsFolder(path), np.array(true_xy_um), texture, shading, np.array(corners))

    return make
