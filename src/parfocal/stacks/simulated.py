"""Simulated test stacks: what a protocol and a seed fix, rendered once into folders with a `stack.json`.

The stage's error on arrival is in the truth (`true_z`) and not in what a predictor is told (`z`).
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from parfocal import __version__
from parfocal.documents import read_json
from parfocal.errors import FileError, SettingsError
from parfocal.merit import find_best_focus
from parfocal.optics.abbe import SOURCE_POINTS, AbbeLight, AbbeOptics, Exposure
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.stacks.protocol import DEFAULT_LENS, LENSES, LensName, Protocol, Scene, StackLens, draw_scene
from parfocal.stacks.recorded import STACK_FILE

Renderer = Literal["abbe", "fast"]

SET_FILE = "set.json"

_ARRIVAL_UM, _MOST_ARRIVAL_UM = 0.17, 0.5  # two arrivals: an achieved Δ's error of 0.24 µm
_SHIFT_PX = 0.3 / math.sqrt(2)  # of each frame, so that a pair's is 0.3
_LABEL_PX, _LABEL_REACH_UM, _LABEL_CLOSER_UM = 448, 8.0, 3.0
_SENSOR_PIXEL_UM = 3.45
_FARTHER_U, _FARTHER_POINTS = 14.5, 3  # where ghosts of the source would pass a tenth of the contrast
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs")


@dataclass(frozen=True)
class SetSettings:
    """What fixes a set, whatever its size.

    Attributes:
        protocol: what its stacks are drawn from.
        seed: of everything drawn.
        renderer: by whose light.
        tiles: (rows, columns) of 224² pixels of a frame.
        textures: images to make specimens from, for the protocol *different*.
        lens: a name in `protocol.LENSES`.
    """

    protocol: Protocol
    seed: int
    renderer: Renderer = "abbe"
    tiles: tuple[int, int] = (4, 5)
    textures: tuple[Path, ...] = ()
    lens: LensName = DEFAULT_LENS

    def to_json(self) -> dict[str, Any]:
        """As `set.json` keeps it."""
        return {
            "protocol": self.protocol,
            "seed": self.seed,
            "renderer": self.renderer,
            "tiles": list(self.tiles),
            "textures": [image.name for image in self.textures],
            "lens": self.lens,
        }


def synthesize(
    folder: Path,
    settings: SetSettings,
    fields: int,
    jobs: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Render the first `fields` stacks of a set into a folder; those that are there already stay as they are.

    Args:
        folder: of the set.
        settings: which set.
        fields: number of stacks.
        jobs: processes; one for each core unless told.
        on_progress: called with what, how many stacks are done, of how many.

    Raises:
        SettingsError: if the folder holds another set, or textures were given to a protocol that takes none.
        FileError: if the folder cannot be written, or a texture not read.
    """
    start_set(folder, settings)
    work = [(folder, settings, index) for index in range(fields)]
    with multiprocessing.get_context("spawn").Pool(min(jobs or os.cpu_count() or 1, fields)) as pool:
        for done, _ in enumerate(pool.imap(_one, work), start=1):
            if on_progress:
                on_progress("rendering stacks", done, fields)


def _one(work: tuple[Path, SetSettings, int]) -> Path:
    return synthesize_stack(*work)


def best_focus_of(scene: Scene, renderer: Renderer) -> float | None:
    """Stage z in µm at which the scene is in best focus, or None if it has none within 8 µm (as much in u, if more).

    Noise-free planes a quarter of the depth of field apart over the central 448² pixels, green Tenengrad, parabola; by
    Abbe's sum, the planes that decide are looked for around the place where the fast light has its best focus.
    """
    shape, lens = (min(_LABEL_PX, scene.shape[0]), min(_LABEL_PX, scene.shape[1])), scene.lens
    step_um = 0.25 * round(lens.objective.depth_of_field_um(_SENSOR_PIXEL_UM), 2)
    wider = max(1.0, lens.u_ratio)
    fast = SlideOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, shape, lens.pixel_um)
    near = find_best_focus(_green(fast), 0.0, wider * _LABEL_REACH_UM, step_um)
    if near is None or renderer == "fast":
        return near
    slow = AbbeOptics(scene.specimen, scene.illumination).field(scene.x_um, scene.y_um, shape, lens.pixel_um)
    return find_best_focus(_green(slow), near, wider * _LABEL_CLOSER_UM, step_um)


def draw_focused(settings: SetSettings, rng: np.random.Generator) -> tuple[Scene, float]:
    """The next scene of a set that has a best focus, and that focus as stage z in µm (see `best_focus_of`).

    Raises:
        FileError: if a texture cannot be read.
    """
    while True:
        scene = draw_scene(settings.protocol, rng, settings.tiles, settings.textures, LENSES[settings.lens])
        best_z = best_focus_of(scene, settings.renderer)
        if best_z is not None:
            return scene, best_z


def _green(light: FieldLight | AbbeLight) -> Callable[[float], NDArray[np.float32]]:
    return lambda z_um: np.asarray(light.plane(z_um, (1,))[..., 0])


def render(scene: Scene, renderer: Renderer, exposures: Sequence[Exposure]) -> list[NDArray[np.float32]]:
    """Noise-free light (Y, X, 3) of each exposure; Abbe's sum has more source points where a stack reaches far."""
    where = (scene.x_um, scene.y_um, scene.shape, scene.lens.pixel_um)
    if renderer == "fast":
        fast = SlideOptics(scene.specimen, scene.illumination).field(*where)
        return [np.asarray(fast.plane(exposure.z_um, shift_px=exposure.shift_px)) for exposure in exposures]
    z_um = np.array([exposure.z_um for exposure in exposures])
    far = np.abs(z_um - z_um.mean()) > _FARTHER_U * scene.lens.objective.canonical_z_um
    planes: dict[int, NDArray[np.float32]] = {}
    for group, points in ((~far, SOURCE_POINTS), (far, _FARTHER_POINTS * SOURCE_POINTS)):
        if group.any():
            slow = AbbeOptics(scene.specimen, scene.illumination, source_points=points).field(*where)
            chosen = np.flatnonzero(group).tolist()
            planes |= zip(chosen, slow.stack([exposures[plane] for plane in chosen]), strict=True)
    return [planes[plane] for plane in range(len(exposures))]


def synthesize_stack(folder: Path, settings: SetSettings, index: int) -> Path:
    """Render stack `index` of a set into `folder`/field-NNN, unless it is there already, and return that path.

    A folder has its final name only once it is complete, so an interrupted set goes on where it stopped.

    Raises:
        FileError: if the folder cannot be written, or a texture not read.
    """
    path = folder / f"field-{index:03d}"
    if (path / STACK_FILE).is_file():
        return path
    rng = np.random.default_rng((settings.seed, ("same", "different").index(settings.protocol), index))
    scene, best_z = draw_focused(settings, rng)
    told, true = _positions(best_z, scene.lens, rng)
    shifts = rng.normal(0, _SHIFT_PX, (told.size, 2))
    exposures = [Exposure(float(z), (float(dy), float(dx))) for z, (dy, dx) in zip(true, shifts, strict=True)]
    part = folder / f".{path.name}.part"
    try:
        part.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, light in enumerate(render(scene, settings.renderer, exposures)):
            frame = scene.sensor.expose(light * np.float32(1 + scene.flicker * rng.normal()), rng)
            name = _write_frame(part, number, frame, scene.jpeg_quality)
            entries.append({"file": name, "z": float(told[number]), "true_z": round(float(true[number]), 4)})
        description = _describe(scene, settings, index) | {"best_z": best_z, "planes": entries}
        (part / STACK_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _positions(
    best_z: float, lens: StackLens, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stage z in µm of each plane, rising: what the stage is told, and where it is (the paper's stage, scaled)."""
    step_um, scale = lens.step_um, lens.instrument_scale
    offset_um = float(rng.uniform(-step_um / 2, step_um / 2))
    told = np.round(best_z + offset_um + step_um * (np.arange(lens.planes) - lens.planes // 2), 3)
    errors = np.clip(rng.normal(0, _ARRIVAL_UM, lens.planes), -_MOST_ARRIVAL_UM, _MOST_ARRIVAL_UM)
    return told, told + scale * errors


def _write_frame(folder: Path, number: int, frame: NDArray[np.uint8], jpeg_quality: int | None) -> str:
    suffix, settings = (".png", []) if jpeg_quality is None else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    name = f"z-{number:02d}{suffix}"
    encoded = cv2.imencode(suffix, np.ascontiguousarray(frame[..., ::-1]), settings)[1]
    (folder / name).write_bytes(encoded.tobytes())
    return name


def _describe(scene: Scene, settings: SetSettings, index: int) -> dict[str, Any]:
    light, objective = scene.illumination, scene.lens.objective
    return {
        "kind": "simulated",
        "slide": f"{settings.protocol}-{settings.seed}-{index}",
        "z_unit": "um",
        "pixel_size_um": scene.lens.pixel_um,
        "na": objective.na,
        "magnification": objective.magnification,
        "immersion_index": objective.immersion_index,
        "label_state": "confirmed",
        "protocol": settings.protocol,
        "seed": settings.seed,
        "version": __version__,
        "renderer": settings.renderer,
        "specimen": scene.kind,
        "settings": {
            "tiles": list(settings.tiles),
            "condenser_ratio": light.condenser_ratio,
            "spherical_waves": light.spherical_waves,
            "focal_shift_um": list(light.focal_shift_um),
            "full_well_e": scene.sensor.full_well_e,
            "dark_noise_e": scene.sensor.dark_noise_e,
            "flicker": scene.flicker,
            "jpeg_quality": scene.jpeg_quality,
        },
    }


def start_set(folder: Path, settings: SetSettings) -> None:
    """Prepare a set's folder, or check that it holds the same set.

    Raises:
        SettingsError: if the folder holds another set, or textures were given to a protocol that takes none.
        FileError: if it cannot be written.
    """
    if settings.textures and settings.protocol == "same":
        raise SettingsError("textures go with the protocol different: same is drawn from what training draws")
    wanted, path = settings.to_json(), folder / SET_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(wanted | {"version": __version__}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    there = read_json(path)
    for key, value in wanted.items():
        if ({"lens": DEFAULT_LENS} | there).get(key) != value:
            raise SettingsError(f"{folder} holds another set: {SET_FILE} has other {key} than {value!r}")


def find_images(folder: Path) -> tuple[Path, ...]:
    """The images of a folder by name. Raises FileError if it cannot be read or holds none."""
    try:
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror or 'cannot be read'}") from error
    if not images:
        raise FileError(f"{folder}: holds no image ({', '.join(_IMAGES)})")
    return tuple(images)
