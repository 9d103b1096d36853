"""Simulated test stacks: what a protocol and a seed fix, rendered once into folders with a `stack.json`.

*same*: stains, optics and noise as in training, on specimens that training never drew. *different*: stains and kinds of
specimen that training never draws, other condenser, aberration, noise and JPEG. The stage's error on arrival is in the
truth (`true_z`) and not in what a predictor is told (`z`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.errors import FileError, SettingsError
from parfocal.merit import find_best_focus
from parfocal.optics.abbe import AbbeLight, AbbeOptics, Exposure
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.photograph import Photograph, read_photograph
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Layers, Specimen, Topography
from parfocal.optics.texture import Window
from parfocal.optics.transfer import Illumination
from parfocal.optics.variety import random_appearance, random_sensor
from parfocal.stacks.recorded import STACK_FILE

Protocol = Literal["same", "different"]
Renderer = Literal["abbe", "fast"]

SET_FILE = "set.json"
PLANES = 41
TILE_PX = 224

_LENS, _PIXEL_UM = Objective(20, 0.75), 0.345
_STEP_UM = 0.5
_ARRIVAL_UM, _MOST_ARRIVAL_UM = 0.17, 0.5  # two arrivals: an achieved Δ's error of 0.24 µm
_SHIFT_PX = 0.3 / math.sqrt(2)  # of each frame, so that a pair's is 0.3
_EMPTY_TILES, _LEFT_THERE = 0.1, 0.03
_LABEL_PX, _LABEL_STEP_UM, _LABEL_REACH_UM = 448, 0.25 * 1.21, 8.0
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
    protocol: Protocol, rng: np.random.Generator, tiles: tuple[int, int], textures: Sequence[Path] = ()
) -> Scene:
    """A random field of `tiles` (rows, columns) tiles at 20X/0.75.

    Args:
        protocol: what it is drawn from.
        rng: decides everything.
        tiles: rows and columns of 224² pixels.
        textures: images that *different* makes a third of its specimens from.

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
        room_um = [max(n * specimen.pixel_um - m * _PIXEL_UM, 0) for n, m in sides]
        y_um, x_um = (float(room * (rng.random() - 0.5)) for room in room_um)
        drawn: Specimen = replace(specimen, topography=_level(slope, x_um, y_um))
    else:
        kinds = _SAME_KINDS if protocol == "same" else _DIFFERENT_KINDS
        kind = str(kinds[rng.integers(len(kinds))])
        x_um, y_um = (float(place) for place in rng.uniform(-5000, 5000, 2))
        look = replace(_appearance(protocol, kind, rng), thickness_um=thickness_um)
        drawn = make_sample(kind, int(rng.integers(2**31)), _level(slope, x_um, y_um), look)
    scene = Scene(
        kind,
        _Thinned(drawn, _bare_tiles(rng, tiles, x_um, y_um)),
        _illumination(protocol, rng),
        _sensor(protocol, rng),
        x_um,
        y_um,
        flicker=float(rng.uniform(0, 0.01 if protocol == "same" else 0.02)),
        jpeg_quality=_jpeg_quality(protocol, rng),
        shape=shape,
    )
    return scene


def _level(slope: tuple[float, float], x_um: float, y_um: float) -> Topography:
    """A tilted plane that is in focus at about 0 at this place."""
    return Topography(base_um=-(slope[0] * x_um + slope[1] * y_um) / 1000, tilt_um_per_mm=slope)


def _photograph(path: Path, thickness_um: float, rng: np.random.Generator) -> Photograph:
    image = read_photograph(path, 0.5, Topography())
    return replace(image, thickness_um=thickness_um, phase_per_density=float(rng.uniform(0.2, 1.2)))


def _appearance(protocol: Protocol, kind: str, rng: np.random.Generator) -> Appearance:
    look = replace(random_appearance(rng, kind, _LENS.canonical_z_um), cover=0.99)
    if protocol == "same":
        return look
    first, second = _UNSEEN_STAINS[rng.integers(len(_UNSEEN_STAINS))]
    return replace(look, stains=(first, second))


def _illumination(protocol: Protocol, rng: np.random.Generator) -> Illumination:
    shift, aberration = float(rng.uniform(0.2, 0.8)), float(np.clip(rng.normal(0, 0.06), -0.15, 0.15))
    condenser = float(rng.uniform(0.4, 0.95))
    if protocol == "different":
        aberration = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.25))
        condenser = float(rng.choice([rng.uniform(0.3, 0.4), rng.uniform(0.9, 1.0)]))
    red = shift * float(rng.uniform(0.3, 0.7))
    return Illumination(_LENS, condenser, aberration, (red, 0.0, red - shift))


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
    rng: np.random.Generator, tiles: tuple[int, int], x_um: float, y_um: float
) -> tuple[tuple[float, float, float, float], ...]:
    side, (rows, columns) = TILE_PX * _PIXEL_UM, tiles
    left, top = x_um - columns * side / 2, y_um - rows * side / 2
    bare = rng.random(tiles) < _EMPTY_TILES
    corners = [(left + column * side, top + row * side) for row, column in np.argwhere(bare).tolist()]
    return tuple((x, y, x + side, y + side) for x, y in corners)


def best_focus_of(scene: Scene, renderer: Renderer) -> float | None:
    """Stage z in µm at which the scene is in best focus, or None if it has none within 8 µm.

    Noise-free planes a quarter of the depth of field apart over the central 448² pixels, green Tenengrad, parabola; by
    Abbe's sum, the planes that decide are looked for around the place where the fast light has its best focus.
    """
    shape = (min(_LABEL_PX, scene.shape[0]), min(_LABEL_PX, scene.shape[1]))
    fast = SlideOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, shape, _PIXEL_UM)
    near = find_best_focus(_green(fast), 0.0, _LABEL_REACH_UM, _LABEL_STEP_UM)
    if near is None or renderer == "fast":
        return near
    slow = AbbeOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, shape, _PIXEL_UM)
    return find_best_focus(_green(slow), near, 3.0, _LABEL_STEP_UM)


def _green(light: FieldLight | AbbeLight) -> Callable[[float], NDArray[np.float32]]:
    return lambda z_um: np.asarray(light.plane(z_um, (1,))[..., 0])


def render(scene: Scene, renderer: Renderer, exposures: Sequence[Exposure]) -> list[NDArray[np.float32]]:
    """Noise-free light (Y, X, 3) of each exposure."""
    if renderer == "abbe":
        slow = AbbeOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, scene.shape, _PIXEL_UM)
        return list(slow.stack(exposures))
    fast = SlideOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, scene.shape, _PIXEL_UM)
    return [np.asarray(fast.plane(exposure.z_um, shift_px=exposure.shift_px)) for exposure in exposures]


def synthesize_stack(
    folder: Path,
    protocol: Protocol,
    seed: int,
    index: int,
    renderer: Renderer = "abbe",
    tiles: tuple[int, int] = (4, 5),
    textures: Sequence[Path] = (),
) -> Path:
    """Render stack `index` of a set into `folder`/field-NNN, unless it is there already, and return that path.

    A folder has its final name only once it is complete, so an interrupted set goes on where it stopped.

    Raises:
        FileError: if the folder cannot be written, or a texture not read.
    """
    path = folder / f"field-{index:03d}"
    if (path / STACK_FILE).is_file():
        return path
    rng = np.random.default_rng((seed, ("same", "different").index(protocol), index))
    while (best_z := best_focus_of(scene := draw_scene(protocol, rng, tiles, textures), renderer)) is None:
        pass
    offset_um = float(rng.uniform(-_STEP_UM / 2, _STEP_UM / 2))
    told = np.round(best_z + offset_um + _STEP_UM * (np.arange(PLANES) - PLANES // 2), 3)
    true = told + np.clip(rng.normal(0, _ARRIVAL_UM, PLANES), -_MOST_ARRIVAL_UM, _MOST_ARRIVAL_UM)
    shifts = rng.normal(0, _SHIFT_PX, (PLANES, 2))
    exposures = [Exposure(float(z), (float(dy), float(dx))) for z, (dy, dx) in zip(true, shifts, strict=True)]
    part = folder / f".{path.name}.part"
    try:
        part.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, light in enumerate(render(scene, renderer, exposures)):
            frame = scene.sensor.expose(light * np.float32(1 + scene.flicker * rng.normal()), rng)
            name = _write_frame(part, number, frame, scene.jpeg_quality)
            entries.append({"file": name, "z": float(told[number]), "true_z": round(float(true[number]), 4)})
        description = _describe(scene, protocol, seed, index, renderer, tiles) | {"best_z": best_z, "planes": entries}
        (part / STACK_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _write_frame(folder: Path, number: int, frame: NDArray[np.uint8], jpeg_quality: int | None) -> str:
    suffix, settings = (".png", []) if jpeg_quality is None else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    name = f"z-{number:02d}{suffix}"
    encoded = cv2.imencode(suffix, np.ascontiguousarray(frame[..., ::-1]), settings)[1]
    (folder / name).write_bytes(encoded.tobytes())
    return name


def _describe(
    scene: Scene, protocol: Protocol, seed: int, index: int, renderer: Renderer, tiles: tuple[int, int]
) -> dict[str, Any]:
    light = scene.illumination
    return {
        "kind": "simulated",
        "slide": f"{protocol}-{seed}-{index}",
        "z_unit": "um",
        "pixel_size_um": _PIXEL_UM,
        "na": _LENS.na,
        "magnification": _LENS.magnification,
        "immersion_index": _LENS.immersion_index,
        "label_state": "confirmed",
        "protocol": protocol,
        "seed": seed,
        "version": __version__,
        "renderer": renderer,
        "specimen": scene.kind,
        "settings": {
            "tiles": list(tiles),
            "condenser_ratio": light.condenser_ratio,
            "spherical_waves": light.spherical_waves,
            "focal_shift_um": list(light.focal_shift_um),
            "full_well_e": scene.sensor.full_well_e,
            "dark_noise_e": scene.sensor.dark_noise_e,
            "flicker": scene.flicker,
            "jpeg_quality": scene.jpeg_quality,
        },
    }


def start_set(
    folder: Path,
    protocol: Protocol,
    seed: int,
    renderer: Renderer,
    tiles: tuple[int, int],
    textures: Path | None,
) -> tuple[Path, ...]:
    """Prepare a set's folder, or check that it holds the same set, and return the images to make specimens from.

    Raises:
        SettingsError: if the folder holds another set, or textures were given to a protocol that takes none.
        FileError: if it cannot be written, or the textures' folder has no image.
    """
    if textures is not None and protocol == "same":
        raise SettingsError("textures go with the protocol different: same is drawn from what training draws")
    images = _images(textures) if textures is not None else ()
    names = [image.name for image in images]
    wanted = {"protocol": protocol, "seed": seed, "renderer": renderer, "tiles": list(tiles), "textures": names}
    path = folder / SET_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(wanted | {"version": __version__}, indent=1) + "\n", encoding="utf-8")
        there = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        raise FileError(f"{path}: is not JSON: {error}") from error
    for key, value in wanted.items():
        if not isinstance(there, dict) or there.get(key) != value:
            raise SettingsError(f"{folder} holds another set: {SET_FILE} has other {key} than {value!r}")
    return images


def _images(folder: Path) -> tuple[Path, ...]:
    suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs")
    try:
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror or 'cannot be read'}") from error
    if not images:
        raise FileError(f"{folder}: holds no image ({', '.join(suffixes)})")
    return tuple(images)
