"""Training pairs rendered from random specimens under random light, in the network's canonical scale.

Each specimen gives a chain of planes Δ apart, so n planes make n − 1 pairs. The label is the defocus of the pair's
second image against the specimen's own best focus (peak of the noise-free Tenengrad), in units of u.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from parfocal.focus.difference import difference
from parfocal.merit import find_best_focus
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import SAMPLES, Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination

PATCH_PX = 224
PAIRS_PER_SPECIMEN = 8
_OBJECTIVES = (Objective(20, 0.75), Objective(40, 0.65))
_KIND_SHARE = {"he-tissue": 0.36, "leaves": 0.14, "blood-smear": 0.18, "gram-smear": 0.18, "unstained": 0.14}
_MIN_SD = 1.2
_DIFFERENCE_LIMIT = 127


@dataclass(frozen=True)
class Pairs:
    """Pairs ready for training.

    Attributes:
        difference: (N, Y, X, 3) int8, `focus.difference.difference` held within ±127.
        defocus_u: (N,) float32 defocus of the second image, in units of u.
        sd: (N,) float32 standard deviation of the first image in grey levels.
    """

    difference: NDArray[np.int8]
    defocus_u: NDArray[np.float32]
    sd: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.defocus_u)


def synthesise(folder: Path, shard: int, specimens: int, seed: int) -> Path:
    """Render one shard of pairs into `folder` and return its path; a shard that is there already is left alone.

    Args:
        folder: where shards live.
        shard: index of the shard; with the seed it fixes everything drawn.
        specimens: number of specimens to draw.
        seed: of the whole set.
    """
    path = folder / f"pairs-{shard:04d}.npy"
    labels = path.with_suffix(".labels.npy")
    if labels.exists():
        return path
    rng = np.random.default_rng((seed, shard))
    made: list[tuple[NDArray[np.int8], float, float]] = []
    for _ in range(specimens):
        made.extend(_specimen_pairs(rng))
    pixels = open_memmap(path, mode="w+", dtype=np.int8, shape=(len(made), PATCH_PX, PATCH_PX, 3))
    for index, (image, _, _) in enumerate(made):
        pixels[index] = image
    pixels.flush()
    np.save(labels, np.array([(defocus, sd) for _, defocus, sd in made], dtype=np.float32).reshape(-1, 2))
    return path


def read_pairs(path: Path) -> Pairs:
    """A shard, its pixels mapped and not read."""
    labels = np.load(path.with_suffix(".labels.npy"))
    return Pairs(np.load(path, mmap_mode="r"), labels[:, 0], labels[:, 1])


def _specimen_pairs(rng: np.random.Generator) -> list[tuple[NDArray[np.int8], float, float]]:
    """The usable pairs of one random specimen: difference, defocus in u, sd of I1."""
    objective = _OBJECTIVES[rng.integers(len(_OBJECTIVES))]
    unit_um = objective.canonical_z_um
    light = _random_light(rng, objective)
    focus_um = find_best_focus(lambda z: light.plane(z, (1,))[..., 0], 0.0, 8 * unit_um, 0.25 * 1.21 / 0.81 * unit_um)
    if focus_um is None:
        return []
    sensor = _random_sensor(rng)
    camera = _Camera(light, sensor, rng)
    delta_um = rng.uniform(2.2, 2.9) * unit_um
    start_um = focus_um + _random_start_u(rng) * unit_um
    pairs = []
    error_um = 0.24 / 0.81 * unit_um / np.sqrt(2)
    planes_um = start_um + delta_um * np.arange(PAIRS_PER_SPECIMEN + 1) + np.clip(rng.normal(0, error_um, 9), -0.6, 0.6)
    frames = [camera.expose(z) for z in planes_um]
    for first, second, z_um in zip(frames[:-1], frames[1:], planes_um[1:], strict=True):
        sd = float(first.std())
        if sd >= _MIN_SD:
            image = np.clip(difference(first, second), -_DIFFERENCE_LIMIT, _DIFFERENCE_LIMIT).astype(np.int8)
            pairs.append((image, float((z_um - focus_um) / unit_um), sd))
    return pairs


def _random_start_u(rng: np.random.Generator) -> float:
    """Most chains run from some −12 u through the focus; some start far below it and some reach far above."""
    kind = rng.random()
    if kind < 0.8:
        return float(rng.uniform(-13, -7))
    return float(rng.uniform(-25, -13) if kind < 0.92 else rng.uniform(-5, 1))


def _random_light(rng: np.random.Generator, objective: Objective) -> FieldLight:
    """A window of PATCH_PX² pixels of about the canonical size, on a random specimen under random optics."""
    unit_um = objective.canonical_z_um
    shift = rng.uniform(0.0, 0.5) * unit_um
    illumination = Illumination(
        objective,
        condenser_ratio=rng.uniform(0.4, 0.95),
        spherical_waves=float(np.clip(rng.normal(0, 0.06), -0.15, 0.15)),
        focal_shift_um=(shift, 0.0, -shift * rng.uniform(0.3, 1.2)),
    )
    kind = str(rng.choice(list(_KIND_SHARE), p=list(_KIND_SHARE.values())))
    x_um, y_um = rng.uniform(-5000, 5000, 2)
    tilt = rng.normal(0, 2.5, 2)
    level_um = -float(tilt @ (x_um, y_um)) / 1000  # the window's centre is in focus at about 0
    relief = Topography(base_um=level_um, tilt_um_per_mm=(float(tilt[0]), float(tilt[1])))
    sample = make_sample(kind, int(rng.integers(2**31)), relief, _random_appearance(rng, kind, unit_um))
    pixel_um = objective.canonical_pixel_um * rng.uniform(0.85, 1.18)
    return SlideOptics(sample, illumination).field(float(x_um), float(y_um), (PATCH_PX, PATCH_PX), pixel_um)


def _random_appearance(rng: np.random.Generator, kind: str, unit_um: float) -> Appearance:
    standard = np.array(SAMPLES[kind][1])
    stains = np.clip(standard * rng.uniform(0.6, 1.4, (2, 1)) + rng.uniform(-0.2, 0.2, (2, 3)), 0.02, 1.3)
    if rng.random() < 0.2:
        stains = np.repeat(stains.mean(axis=1, keepdims=True), 3, axis=1)
    thick = rng.random() < 0.25 or kind == "unstained"
    return Appearance(
        stains=(tuple(stains[0].tolist()), tuple(stains[1].tolist())),
        strength=float(rng.uniform(0.5, 1.3)),
        phase=float(rng.uniform(0.1, 1.6)),
        size=float(np.exp(rng.uniform(np.log(0.6), np.log(1.8)))),
        density=float(np.exp(rng.uniform(np.log(0.35), np.log(1.5)))),
        thickness_um=float(rng.uniform(0.5, 7.0 if thick else 3.0) * unit_um),
        edge_um=float(rng.uniform(0.3, 1.4)),
        cover=float(rng.choice([0.6, 0.8, 0.99])),
        dust_per_mm2=float(rng.choice([0.0, 5.0, 40.0])),
    )


def _random_sensor(rng: np.random.Generator) -> Sensor:
    return Sensor(
        full_well_e=float(np.exp(rng.uniform(np.log(8_000), np.log(60_000)))),
        dark_noise_e=float(rng.uniform(3, 15)),
        prnu=float(rng.uniform(0.001, 0.008)),
        white_level=float(rng.uniform(190, 240)),
        vignetting=float(rng.uniform(0, 0.1)),
        seed=int(rng.integers(2**31)),
    )


class _Camera:
    """Exposes the light with flicker, vibration and, for some specimens, JPEG."""

    def __init__(self, light: FieldLight, sensor: Sensor, rng: np.random.Generator) -> None:
        self._light, self._sensor, self._rng = light, sensor, rng
        self._shift_px = rng.choice([0.0, 0.1, 0.3])
        self._flicker = rng.uniform(0, 0.01)
        self._jpeg_quality = int(rng.integers(70, 98)) if rng.random() < 0.25 else None

    def expose(self, z_um: float) -> NDArray[np.uint8]:
        """A frame uint8 (Y, X, 3) at stage z in µm."""
        dy, dx = self._rng.normal(0, 1, 2) * self._shift_px
        light = self._light.plane(z_um, shift_px=(float(dy), float(dx)))
        frame = self._sensor.expose(light * np.float32(1 + self._flicker * self._rng.normal()), self._rng)
        if self._jpeg_quality is None:
            return frame
        encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
