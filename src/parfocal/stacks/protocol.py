"""What the two protocols of the simulated test set draw: specimens, optics, camera, before any light is computed.

*same*: stains, optics and noise as in training, on specimens that training never drew. *different*: stains and kinds of
specimen that training never draws, other condenser, aberration, noise and JPEG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from parfocal.optics.objective import Objective
from parfocal.optics.photograph import Photograph, read_photograph
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Layers, Specimen, Topography
from parfocal.optics.texture import Window
from parfocal.optics.transfer import Illumination
from parfocal.optics.variety import random_appearance, random_sensor

Protocol = Literal["same", "different"]
LensName = Literal["20x0.75", "40x0.65", "10x0.25", "100x1.25oil"]

TILE_PX = 224

_PUBLIC, _STEP_UM = Objective(20, 0.75), 0.5


@dataclass(frozen=True)
class StackLens:
    """A lens, and how test stacks are taken through it: Δ is a whole number of steps.

    What belongs to the slide (thickness, tilt) is drawn in µm, the same through every lens. What belongs to the
    instrument (error of an arrival, focal shift) has the issue's µm through 20X/0.75 and 40X/0.65; through others it
    keeps its share of u, so that it weighs as much against their Δ and depth of field as at 20X/0.75.

    Attributes:
        objective: the lens.
        step_um: distance of two planes in µm.
        planes: how many a stack has, an odd number around the best focus.
        instrument_scale: what µm of the instrument are multiplied with.
    """

    objective: Objective
    step_um: float
    planes: int = 41
    instrument_scale: float = 1.0

    @property
    def pixel_um(self) -> float:
        """Pixel of the frames in µm: the network's own."""
        return round(self.objective.canonical_pixel_um, 3)

    @property
    def u_ratio(self) -> float:
        """Unit u of this lens over that of 20X/0.75."""
        return self.objective.canonical_z_um / _PUBLIC.canonical_z_um


def _similar(objective: Objective) -> StackLens:
    """The stacks of a lens that look like ±10 µm in steps of 0.5 µm at 20X/0.75."""
    ratio = objective.canonical_z_um / _PUBLIC.canonical_z_um
    return StackLens(objective, round(_STEP_UM * ratio, 3), instrument_scale=ratio)


DEFAULT_LENS: LensName = "20x0.75"
LENSES: dict[LensName, StackLens] = {
    DEFAULT_LENS: StackLens(_PUBLIC, _STEP_UM),
    "40x0.65": StackLens(Objective(40, 0.65), 1.0, planes=51),  # ±25 µm and Δ 3 µm (paper, section 4.2)
    "10x0.25": _similar(Objective(10, 0.25)),
    "100x1.25oil": _similar(Objective(100, 1.25, 1.515)),
}

_EMPTY_TILES, _LEFT_THERE = 0.1, 0.03
_SAME_KINDS = ("he-tissue", "blood-smear", "gram-smear")
_DIFFERENT_KINDS = ("marrow", "body-fluid", "semen", "he-tissue")
_UNSEEN_STAINS = (  # absorbance in red, green, blue
    ((0.83, 0.54, 0.12), (0.27, 0.57, 0.78)),  # methylene blue and DAB
    ((0.65, 0.70, 0.29), (0.27, 0.57, 0.78)),  # haematoxylin and DAB
    ((0.20, 0.95, 0.24), (0.85, 0.45, 0.15)),  # carbol fuchsin and methylene blue
    ((0.80, 0.30, 0.50), (0.15, 0.45, 0.88)),  # light green and orange G
)


@dataclass(frozen=True)
class Scene:
    """All that is drawn for one stack, before any light is computed.

    Attributes:
        kind: of the specimen, or the image that it is made from.
        specimen: what lies there.
        illumination: objective, condenser, aberration, focal shift.
        sensor: of the camera.
        x_um: of the field's centre.
        y_um: of the field's centre.
        flicker: relative standard deviation of the lamp from frame to frame.
        jpeg_quality: of the frames; None for PNG.
        shape: (Y, X) of the frames in pixels.
        lens: through which it is seen.
    """

    kind: str
    specimen: Specimen
    illumination: Illumination
    sensor: Sensor
    x_um: float
    y_um: float
    flicker: float
    jpeg_quality: int | None
    shape: tuple[int, int]
    lens: StackLens


@dataclass(frozen=True)
class _Thinned:
    """A specimen of which little is left in some rectangles (left, top, right, bottom) of the slide, in µm."""

    specimen: Specimen
    bare_um: tuple[tuple[float, float, float, float], ...]

    def layers(self, window: Window, pitch_um: float) -> Layers:
        """The specimen inside the window, in layers at multiples of `pitch_um`."""
        layers, left = self.specimen.layers(window, pitch_um), np.ones(window.shape, dtype=np.float32)
        for x0, y0, x1, y1 in self.bare_um:
            inside = _ramp(window.x_um, x0, x1)[None, :] * _ramp(window.y_um, y0, y1)[:, None]
            left *= 1 - np.float32(1 - _LEFT_THERE) * inside
        return replace(layers, density=layers.density * left, phase=layers.phase * left)


def _ramp(place_um: NDArray[np.float64], low_um: float, high_um: float, edge_um: float = 4.0) -> NDArray[np.float32]:
    """1 inside, 0 outside, over an edge wide enough to show no focus of its own."""
    ramp = np.minimum(place_um - low_um, high_um - place_um) / edge_um + 0.5
    return np.clip(ramp, 0, 1).astype(np.float32)


def draw_scene(
    protocol: Protocol,
    rng: np.random.Generator,
    tiles: tuple[int, int],
    textures: Sequence[Path] = (),
    lens: StackLens = LENSES[DEFAULT_LENS],
) -> Scene:
    """A random field of `tiles` (rows, columns) tiles. The same numbers give the same slide through every lens.

    Args:
        protocol: what it is drawn from.
        rng: decides everything.
        tiles: rows and columns of 224² pixels.
        textures: images that *different* makes a third of its specimens from.
        lens: through which it is seen.

    Raises:
        FileError: if a texture cannot be read.
    """
    shape = (tiles[0] * TILE_PX, tiles[1] * TILE_PX)
    tilt, direction = rng.uniform(0, 4), rng.uniform(0, 2 * math.pi)
    slope = (tilt * math.cos(direction), tilt * math.sin(direction))
    thickness_um = float(rng.uniform(0, 4))
    if protocol == "different" and textures and rng.random() < 1 / 3:
        path = textures[int(rng.integers(len(textures)))]
        kind, specimen = path.name, _photograph(path, thickness_um, rng)
        sides = zip(specimen.density.shape, shape, strict=False)
        room_um = [max(n * specimen.pixel_um - m * lens.pixel_um, 0) for n, m in sides]
        y_um, x_um = (float(room * (rng.random() - 0.5)) for room in room_um)
        drawn: Specimen = replace(specimen, topography=_level(slope, x_um, y_um))
    else:
        kinds = _SAME_KINDS if protocol == "same" else _DIFFERENT_KINDS
        kind = str(kinds[rng.integers(len(kinds))])
        x_um, y_um = (float(place) for place in rng.uniform(-5000, 5000, 2))
        look = replace(_appearance(protocol, kind, rng, lens), thickness_um=thickness_um)
        drawn = make_sample(kind, int(rng.integers(2**31)), _level(slope, x_um, y_um), look)
    scene = Scene(
        kind,
        _Thinned(drawn, _bare_tiles(rng, tiles, x_um, y_um, lens.pixel_um)),
        _illumination(protocol, rng, lens),
        _sensor(protocol, rng),
        x_um,
        y_um,
        flicker=float(rng.uniform(0, 0.01 if protocol == "same" else 0.02)),
        jpeg_quality=_jpeg_quality(protocol, rng),
        shape=shape,
        lens=lens,
    )
    return scene


def _level(slope: tuple[float, float], x_um: float, y_um: float) -> Topography:
    """A tilted plane that is in focus at about 0 at this place."""
    return Topography(base_um=-(slope[0] * x_um + slope[1] * y_um) / 1000, tilt_um_per_mm=slope)


def _photograph(path: Path, thickness_um: float, rng: np.random.Generator) -> Photograph:
    image = read_photograph(path, 0.5, Topography())
    return replace(image, thickness_um=thickness_um, phase_per_density=float(rng.uniform(0.2, 1.2)))


def _appearance(protocol: Protocol, kind: str, rng: np.random.Generator, lens: StackLens) -> Appearance:
    look = replace(random_appearance(rng, kind, lens.objective.canonical_z_um), cover=0.99)
    if protocol == "same":
        return look
    first, second = _UNSEEN_STAINS[rng.integers(len(_UNSEEN_STAINS))]
    return replace(look, stains=(first, second))


def _illumination(protocol: Protocol, rng: np.random.Generator, lens: StackLens) -> Illumination:
    shift, aberration = (
        float(rng.uniform(0.2, 0.8)) * lens.instrument_scale,
        float(np.clip(rng.normal(0, 0.06), -0.15, 0.15)),
    )
    condenser = float(rng.uniform(0.4, 0.95))
    if protocol == "different":
        aberration = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.25))
        condenser = float(rng.choice([rng.uniform(0.3, 0.4), rng.uniform(0.9, 1.0)]))
    red = shift * float(rng.uniform(0.3, 0.7))
    return Illumination(lens.objective, condenser, aberration, (red, 0.0, red - shift))


def _sensor(protocol: Protocol, rng: np.random.Generator) -> Sensor:
    sensor = replace(random_sensor(rng), full_well_e=float(rng.uniform(5_000, 12_000)))
    if protocol == "same":
        return sensor
    return replace(sensor, dark_noise_e=float(rng.uniform(12, 25)), prnu=float(rng.uniform(0.005, 0.012)))


def _jpeg_quality(protocol: Protocol, rng: np.random.Generator) -> int | None:
    if protocol == "same":
        return int(rng.integers(70, 98)) if rng.random() < 0.25 else None
    return int(rng.integers(55, 90)) if rng.random() < 0.75 else None


def _bare_tiles(
    rng: np.random.Generator, tiles: tuple[int, int], x_um: float, y_um: float, pixel_um: float
) -> tuple[tuple[float, float, float, float], ...]:
    side, (rows, columns) = TILE_PX * pixel_um, tiles
    left, top = x_um - columns * side / 2, y_um - rows * side / 2
    bare = rng.random(tiles) < _EMPTY_TILES
    corners = [(left + column * side, top + row * side) for row, column in np.argwhere(bare).tolist()]
    return tuple((x, y, x + side, y + side) for x, y in corners)
