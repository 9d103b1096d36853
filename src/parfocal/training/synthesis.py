"""Training pairs rendered from random specimens under random light, in the network's canonical scale.

Each specimen gives a chain of frames Δ apart, so n frames make n − 1 pairs. Labels are the defocus of each frame
against the specimen's own best focus (peak of the noise-free Tenengrad), in units of u.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from parfocal.merit import find_best_focus
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.photograph import Photograph, read_photograph
from parfocal.optics.samples import make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Specimen, Topography
from parfocal.optics.transfer import Illumination
from parfocal.optics.variety import random_appearance, random_sensor

PATCH_PX = 224
FRAMES_PER_SPECIMEN = 9
OBJECTIVES = (
    Objective(10, 0.25),
    Objective(10, 0.3),
    Objective(20, 0.4),
    Objective(20, 0.5),
    Objective(20, 0.75),
    Objective(40, 0.65),
    Objective(40, 0.95),
    Objective(63, 0.85),
    Objective(100, 1.25, 1.515),
    Objective(100, 1.3, 1.515),
)
"""Lenses that pairs are drawn through, half of them through the paper's two: 20X/0.75 and 40X/0.65."""
OBJECTIVE_20X = Objective(20, 0.75)
_USUAL = (OBJECTIVE_20X, Objective(40, 0.65))
_KIND_SHARE = {"he-tissue": 0.36, "leaves": 0.14, "blood-smear": 0.18, "gram-smear": 0.18, "unstained": 0.14}
DELTA_U = (2.0, 3.2)
"""Smallest and largest distance of a pair, in units of u, unless a recipe says others."""

GREY_SHARE = 0.15
"""Share of the pairs that training makes grey."""

_MIN_SD = 1.2
_MOST_ARRIVAL_ERROR_U = 0.3
_USUAL_SHARE, _ANY_STAIN_SHARE = 0.5, 0.3
_WIDE_SHARE, _USUAL_WAVES, _WIDE_WAVES = 0.4, 0.08, 0.27


@dataclass(frozen=True)
class Chains:
    """Specimens ready for training.

    Attributes:
        frames: (S, F, Y, X, 3) uint8, F frames of each of S specimens at rising z.
        defocus_u: (S, F) float32 true defocus of each frame, in units of u.
        delta_u: (S,) float32 commanded distance of neighbouring frames, in units of u.
    """

    frames: NDArray[np.uint8]
    defocus_u: NDArray[np.float32]
    delta_u: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.delta_u)


@dataclass(frozen=True)
class Textures:
    """Real images from which some of the specimens are made.

    Attributes:
        paths: the image files.
        share: share of the specimens.
    """

    paths: tuple[Path, ...] = ()
    share: float = 0.0


NO_TEXTURES = Textures()


def synthesise(
    folder: Path,
    shard: int,
    specimens: int,
    seed: int,
    textures: Textures = NO_TEXTURES,
    objectives: tuple[Objective, ...] = (),
    delta_u: tuple[float, float] = DELTA_U,
) -> Path:
    """Render one shard of pairs into `folder` and return its path; a shard that is there already is left alone.

    Args:
        folder: where shards live.
        shard: index of the shard; with the seed it fixes everything drawn.
        specimens: number of specimens to draw.
        seed: of the whole set.
        textures: real images, if there are any.
        objectives: lenses to draw from; none: `OBJECTIVES`, and the paper's two in half of the draws.
        delta_u: smallest and largest distance of a pair, in units of u.

    Raises:
        FileError: if a texture cannot be read.
    """
    path = shard_path(folder, shard)
    labels = path.with_suffix(".labels.npy")
    if labels.exists():
        return path
    rng = np.random.default_rng((seed, shard))
    shape = (specimens, FRAMES_PER_SPECIMEN, PATCH_PX, PATCH_PX, 3)
    frames = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    known = np.zeros((specimens, FRAMES_PER_SPECIMEN + 1), dtype=np.float32)
    for index in range(specimens):
        frames[index], known[index, :-1], known[index, -1] = _chain(rng, textures, objectives, delta_u)
    frames.flush()
    aside = labels.with_suffix(".new.npy")
    np.save(aside, known)
    aside.replace(labels)
    return path


def made_grey(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (…, Y, X, 3) as a camera without colour would have them, of the same shape."""
    return np.repeat(frames.mean(axis=-1, keepdims=True).round().astype(np.uint8), 3, axis=-1)


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard's frames are."""
    return folder / f"chains-{shard:04d}.npy"


def read_chains(path: Path) -> Chains:
    """A shard. Its frames are mapped: trainings side by side share them, and a set may be larger than the memory."""
    labels = np.load(path.with_suffix(".labels.npy"))
    return Chains(np.load(path, mmap_mode="r"), labels[:, :-1], labels[:, -1])


def _chain(
    rng: np.random.Generator,
    textures: Textures,
    objectives: tuple[Objective, ...] = (),
    within_u: tuple[float, float] = DELTA_U,
) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """Frames of one random specimen that shows something: (F, Y, X, 3), their defocus in u, and Δ in u."""
    while True:
        objective = random_objective(rng, objectives)
        unit_um = objective.canonical_z_um
        light = _random_light(rng, objective, textures)
        step_um = 0.25 * 1.21 / 0.81 * unit_um
        focus_um = find_best_focus(partial(_green, light), 0.0, 8 * unit_um, step_um)
        if focus_um is None:
            continue
        camera = _Camera(light, random_sensor_of_training(rng), rng)
        delta_u = float(rng.uniform(*within_u))
        arrival_u = rng.uniform(0, _MOST_ARRIVAL_ERROR_U)
        error_u = np.clip(rng.normal(0, arrival_u, FRAMES_PER_SPECIMEN), -0.6, 0.6)
        defocus_u = _random_start_u(rng) + delta_u * np.arange(FRAMES_PER_SPECIMEN) + error_u
        frames = np.stack([camera.expose(focus_um + defocus * unit_um) for defocus in defocus_u])
        if frames.std(axis=(1, 2)).mean() >= _MIN_SD:
            return frames, defocus_u, delta_u


def random_objective(rng: np.random.Generator, objectives: tuple[Objective, ...]) -> Objective:
    """One of these lenses; if there are none, of `OBJECTIVES`, the paper's two in half of the draws."""
    drawn = objectives or (_USUAL if rng.random() < _USUAL_SHARE else OBJECTIVES)
    return drawn[rng.integers(len(drawn))]


def _green(light: FieldLight, z_um: float) -> NDArray[np.float32]:
    return np.asarray(light.plane(z_um, (1,))[..., 0])


def _random_start_u(rng: np.random.Generator) -> float:
    """Most chains run from some −12 u through the focus; some start far below it and some reach far above."""
    kind = rng.random()
    if kind < 0.8:
        return float(rng.uniform(-13, -7))
    return float(rng.uniform(-25, -13) if kind < 0.92 else rng.uniform(-5, 1))


def _random_light(rng: np.random.Generator, objective: Objective, textures: Textures) -> FieldLight:
    """A window of PATCH_PX² pixels of about the canonical size, on a random specimen under random optics."""
    illumination = random_illumination(rng, objective)
    pixel_um = objective.canonical_pixel_um * rng.uniform(0.85, 1.18)
    x_um, y_um, specimen, _ = random_specimen(rng, objective, textures)
    return SlideOptics(specimen, illumination).field(x_um, y_um, (PATCH_PX, PATCH_PX), pixel_um)


def random_illumination(rng: np.random.Generator, objective: Objective) -> Illumination:
    """Condenser, aberration and focal shift of the colours."""
    shift = rng.uniform(0.0, 0.6) * objective.canonical_z_um
    reach = _WIDE_WAVES if rng.random() < _WIDE_SHARE else _USUAL_WAVES
    return Illumination(
        objective,
        condenser_ratio=rng.uniform(0.3, 1.0),
        spherical_waves=rng.uniform(-reach, reach),
        focal_shift_um=(shift * rng.uniform(0.2, 1.0), 0.0, -shift * rng.uniform(0.3, 1.2)),
    )


def random_specimen(
    rng: np.random.Generator, objective: Objective, textures: Textures
) -> tuple[float, float, Specimen, bool]:
    """A place (x, y) in µm on a random specimen that is in focus there at about 0, and whether it is a real image."""
    if textures.paths and rng.random() < textures.share:
        return *_random_photograph(rng, textures.paths, objective), True
    return *_random_sample(rng, objective), False


def random_sensor_of_training(rng: np.random.Generator) -> Sensor:
    """Sensors from quiet to poor: those of the test sets and some worse."""
    return replace(
        random_sensor(rng),
        full_well_e=float(np.exp(rng.uniform(np.log(4_000), np.log(60_000)))),
        dark_noise_e=float(rng.uniform(3, 22)),
        prnu=float(rng.uniform(0.001, 0.012)),
    )


def _random_sample(rng: np.random.Generator, objective: Objective) -> tuple[float, float, Specimen]:
    """A place (x, y) in µm on a random sample that is in focus there at about 0.

    Seen through a weaker lens it may look as small as it is, or like another sample of its kind that is larger.
    """
    unit_um = objective.canonical_z_um
    kind = str(rng.choice(list(_KIND_SHARE), p=list(_KIND_SHARE.values())))
    x_um, y_um = (float(value) for value in rng.uniform(-5000, 5000, 2))
    relief = _random_relief(rng, x_um, y_um, unit_um)
    look = random_appearance(rng, kind, unit_um)
    if rng.random() < _ANY_STAIN_SHARE:
        first, second = rng.uniform(0.05, 1.0, (2, 3)).tolist()
        look = replace(look, stains=(tuple(first), tuple(second)))
    grown = (objective.canonical_pixel_um / _USUAL[0].canonical_pixel_um) ** rng.uniform(0.3, 1.0)
    look = replace(look, size=look.size * grown, edge_um=look.edge_um * grown)
    return x_um, y_um, make_sample(kind, int(rng.integers(2**31)), relief, look)


def _random_relief(rng: np.random.Generator, x_um: float, y_um: float, unit_um: float) -> Topography:
    tilt = rng.normal(0, 2.5, 2)
    level_um = -float(tilt @ (x_um, y_um)) / 1000  # the window's centre is in focus at about 0
    return Topography(
        seed=int(rng.integers(2**31)),
        base_um=level_um,
        tilt_um_per_mm=(float(tilt[0]), float(tilt[1])),
        roughness_um=float(rng.uniform(0, 0.6) * unit_um) if rng.random() < 0.3 else 0.0,
        roughness_cell_um=float(rng.uniform(25, 200)),
    )


def _random_photograph(
    rng: np.random.Generator, paths: tuple[Path, ...], objective: Objective
) -> tuple[float, float, Specimen]:
    """A place (x, y) in µm on a real image, its stain, scale, sharpness and depth changed at random."""
    density = _density(paths[rng.integers(len(paths))])
    pixel_um = objective.canonical_pixel_um * float(np.exp(rng.uniform(np.log(0.7), np.log(2.0))))
    rows, columns = density.shape[:2]
    window_px = PATCH_PX * objective.canonical_pixel_um / pixel_um
    x_um, y_um = (float((rng.random() - 0.5) * max(n - window_px, 0) * pixel_um) for n in (columns, rows))
    # Only the part that is seen; the centre of what is cut out stays where it was.
    reach = int(0.75 * window_px) + 40
    centre_row, centre_column = rows / 2 + y_um / pixel_um, columns / 2 + x_um / pixel_um
    top, left = (max(0, int(centre - reach)) for centre in (centre_row, centre_column))
    seen = density[top : top + 2 * reach, left : left + 2 * reach]
    x_um = (centre_column - left - seen.shape[1] / 2) * pixel_um
    y_um = (centre_row - top - seen.shape[0] / 2) * pixel_um
    mixing = np.eye(3) * rng.uniform(0.5, 1.3) + rng.normal(0, 0.12, (3, 3))
    if rng.random() < 0.2:
        mixing = np.repeat(mixing.mean(axis=1, keepdims=True), 3, axis=1)
    stained = np.maximum(seen @ mixing.astype(np.float32), 0.0)
    blur_px = rng.uniform(0.0, 1.2)
    if blur_px > 0.3:
        stained = cv2.GaussianBlur(stained, (0, 0), blur_px)
    unit_um = objective.canonical_z_um
    specimen = Photograph(
        stained.astype(np.float32),
        pixel_um,
        _random_relief(rng, x_um, y_um, unit_um),
        thickness_um=float(rng.uniform(0, 3) * unit_um),
        phase_per_density=float(rng.uniform(0, 1.5)),
    )
    return x_um, y_um, specimen


@lru_cache(maxsize=32)
def _density(path: Path) -> NDArray[np.float32]:
    return read_photograph(path, 0.5, Topography()).density


class _Camera:
    """Exposes the light with flicker, vibration and, for some specimens, JPEG."""

    def __init__(self, light: FieldLight, sensor: Sensor, rng: np.random.Generator) -> None:
        self._light, self._sensor, self._rng = light, sensor, rng
        self._shift_px = rng.choice([0.0, 0.1, 0.3])
        self._flicker = rng.uniform(0, 0.02)
        self._jpeg_quality = int(rng.integers(50, 98)) if rng.random() < 0.4 else None

    def expose(self, z_um: float) -> NDArray[np.uint8]:
        """A frame uint8 (Y, X, 3) at stage z in µm."""
        dy, dx = self._rng.normal(0, 1, 2) * self._shift_px
        light = self._light.plane(z_um, shift_px=(float(dy), float(dx)))
        frame = self._sensor.expose(light * np.float32(1 + self._flicker * self._rng.normal()), self._rng)
        if self._jpeg_quality is None:
            return frame
        encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
