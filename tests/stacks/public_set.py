"""Writes a small tree of files in the layout of the public data set, from simulated light."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from parfocal.optics.imaging import SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination

PIXEL_UM = 0.345
TOP = "incoherent_RGBchannels"
TRAIN = f"{TOP}/train_incoherent_RGBChannels"
SAME = f"{TOP}/testRawData_incoherent_sameProtocol"
DIFFERENT = f"{TOP}/testRawData_incoherent_diffProtocol"


def write_public_set(root: Path, *, planes: int = 13, slides: int = 3) -> Path:
    """Two locations and two patches of each slide to train on; one location of each protocol to test on.

    Every stack has an offset of its own below a step, so none but the first has a plane at 0; file names repeat.
    """
    for slide in range(1, slides + 1):
        for location in (1, 2):
            for patch in (1, 2):
                offset_nm = (150, -350, 0, 240)[(slide + 2 * location + patch) % 4]
                seed = 100 * slide + 10 * location + patch
                folder = root / TRAIN / f"s{slide}_l{location}"
                _write_stack(folder, f"Seg{patch}_defocus", seed, offset_nm, planes, 224, binned=True)
    _write_stack(root / SAME / "s1_l1", "defocus", 900, -350, planes, 448, binned=False)
    _write_stack(root / DIFFERENT / "s2_l1", "defocus", 901, 150, planes, 448, binned=False)
    return root


def _write_stack(
    folder: Path, prefix: str, seed: int, offset_nm: int, planes: int, side_px: int, *, binned: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sample = make_sample("he-tissue", seed, Topography(), Appearance(cover=0.99, thickness_um=0.5, dust_per_mm2=0))
    pixel_um = PIXEL_UM if binned else PIXEL_UM / 2
    light = SlideOptics(sample, Illumination(Objective(20, 0.75))).field(0, 0, (side_px, side_px), pixel_um)
    for step in range(planes):
        label_nm = 500 * (step - planes // 2) + offset_nm
        frame = np.clip(np.asarray(light.plane(label_nm / 1000)) * 220, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{prefix}{label_nm}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
