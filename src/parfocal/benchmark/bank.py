"""Rendered fields and what the shipped network and the figures of merit say of them: what the error model draws from.

Rendering every field of a 15 × 15 mm slide is out of reach, so a few hundred fields are rendered at many z, with the
camera's noise, and each pair of planes that is about Δ apart is shown to the network. A modelled scan then draws its
readings from these (`benchmark.modelled`).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parfocal.devices.base import Frame
from parfocal.devices.simulated import CameraSettings, SimulatedCamera, SimulatedLamp, VirtualClock, shows_tissue
from parfocal.errors import FileError, SettingsError
from parfocal.focus.peak import central_sharpness, log_sharpness
from parfocal.focus.predictor import FocusPredictor
from parfocal.merit import find_best_focus
from parfocal.optics.imaging import FieldLight, SlideOptics
from parfocal.optics.objective import Objective
from parfocal.optics.samples import Appearance, make_sample
from parfocal.optics.sensor import Sensor
from parfocal.optics.specimen import Topography
from parfocal.optics.transfer import Illumination

Array = NDArray[np.float64]

OBJECTIVE = Objective(40, 0.65)
PIXEL_UM = 0.345
SENSOR_PIXEL_UM = 3.45
DELTA_UM = 3.0
ILLUMINATION = Illumination(OBJECTIVE, condenser_ratio=0.7, spherical_waves=0.02, focal_shift_um=(0.3, 0.0, -0.21))
SPECIMENS: dict[str, tuple[str, Appearance]] = {
    "tissue": ("he-tissue", Appearance(cover=0.99)),
    "dusty-tissue": ("he-tissue", Appearance(cover=0.99, dust_per_mm2=40.0)),
    "tissue-border": ("he-tissue", Appearance(cover=0.5)),
    "blood": ("blood-smear", Appearance()),
    "sparse-smear": ("gram-smear", Appearance(density=0.5)),
    "marrow": ("marrow", Appearance()),
}
"""Kinds of field that the policies' slides are made of: sample and how it looks."""

_FRAME_PX = 776  # the 3 × 3 patches that the network looks at
_STRIP_SHARE = 0.1
_NEAR_UM, _FAR_UM = 4.8, 24.0
_NEAR_PLANES, _FAR_PAIRS = 23, 4
_MOST_APART_UM = 0.8  # from Δ: beyond what two arrivals can be off
_KINDS = {"f": np.float64, "i": np.int64}
_TRUTH_PX = 448


@dataclass(frozen=True)
class Bank:
    """Rendered fields, N of them with P planes each and M pairs in all.

    Attributes:
        kind: (N,) name in `SPECIMENS`.
        offset_um: (N,) best focus above the specimen's mean depth, in µm.
        is_tissue: (N,) whether the field holds tissue.
        z_um: (N, P) planes, from best focus, rising, in µm.
        sharpness: (N, P) `focus.peak.central_sharpness` of each.
        strips: (N, P, 4) the same of the left, right, upper and lower tenth of the frame.
        image_sd: (N, P) largest standard deviation of a patch, in grey levels.
        field: (M,) field of each pair.
        first: (M,) plane of its first image.
        second: (M,) plane of its second.
        predicted_um: (M,) predicted defocus of the second image, in µm.
        spread_um: (M,) standard deviation of the patch predictions, in µm.
        doubt_um: (M,) mean |error| that the network expects, in µm.
        difference_sd: (M,) largest standard deviation of a patch of the difference, in grey levels.
    """

    kind: NDArray[np.str_]
    offset_um: Array
    is_tissue: NDArray[np.bool_]
    z_um: Array
    sharpness: Array
    strips: Array
    image_sd: Array
    field: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    predicted_um: Array
    spread_um: Array
    doubt_um: Array
    difference_sd: Array

    @property
    def defocus_um(self) -> Array:
        """(M,) true defocus of the second image of each pair, in µm."""
        return np.asarray(self.z_um[self.field, self.second])

    @property
    def delta_um(self) -> Array:
        """(M,) distance of each pair in µm."""
        return np.asarray(self.defocus_um - self.z_um[self.field, self.first])


def render_bank(
    network: Path,
    fields: int,
    seed: int,
    jobs: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    kinds: Sequence[str] = tuple(SPECIMENS),
) -> Bank:
    """Render `fields` fields of each of these kinds in `SPECIMENS`.

    Args:
        network: ONNX file.
        fields: of each kind.
        seed: of specimens, places, planes and noise.
        jobs: processes; one for each core unless told.
        on_progress: called with fields done and fields.
        kinds: of field.

    Raises:
        FileError: if the network cannot be used.
        SettingsError: if there is no such kind.
    """
    if strange := [kind for kind in kinds if kind not in SPECIMENS]:
        raise SettingsError(f"unknown kind {strange[0]!r}: choose one of {', '.join(SPECIMENS)}")
    tasks = [(kind, seed + index) for kind in kinds for index in range(fields)]
    rendered: list[dict[str, Array]] = []
    with multiprocessing.get_context("spawn").Pool(min(jobs or os.cpu_count() or 1, len(tasks))) as pool:
        for one in pool.imap(partial(_render_field, network), tasks):
            rendered.append(one)
            if on_progress:
                on_progress(len(rendered), len(tasks))
    of_pairs: dict[str, Any] = {
        name: np.concatenate([one[name] for one in rendered])
        for name in ("first", "second", "predicted_um", "spread_um", "doubt_um", "difference_sd")
    }
    of_fields: dict[str, Any] = {
        name: np.stack([one[name] for one in rendered])
        for name in ("offset_um", "is_tissue", "z_um", "sharpness", "strips", "image_sd")
    }
    owner = np.repeat(np.arange(len(rendered)), [one["first"].size for one in rendered])
    return Bank(kind=np.array([kind for kind, _ in tasks]), field=owner, **of_fields, **of_pairs)


def _render_field(network: Path, task: tuple[str, int]) -> dict[str, Array]:
    """One field: its planes with noise, and the network's word on its pairs."""
    kind, seed = task
    rng = np.random.default_rng((seed, sorted(SPECIMENS).index(kind)))
    sample, look = SPECIMENS[kind]
    optics = SlideOptics(make_sample(sample, int(rng.integers(2**31)), Topography(), look), ILLUMINATION)
    place_um = rng.uniform(-7000.0, 7000.0, 2)
    light = optics.field(place_um[0], place_um[1], (_FRAME_PX, _FRAME_PX), PIXEL_UM)
    best_um, is_tissue = _truth(optics, light, place_um)
    z_um = _planes(rng)
    frames = _expose(light, best_um + z_um, rng)
    predictor = FocusPredictor(network, OBJECTIVE, PIXEL_UM, empty_sd=2.0, patch_grid=3)
    measured = [predictor.measure(frame, frame) for frame in frames]
    scale = PIXEL_UM / OBJECTIVE.canonical_pixel_um
    values: dict[str, Array] = {
        "offset_um": np.array(best_um),
        "is_tissue": np.array(is_tissue),
        "z_um": z_um,
        "sharpness": np.array([central_sharpness(frame, scale) for frame in frames]),
        "strips": np.array([_strips(frame) for frame in frames]),
        "image_sd": np.array([contrast.image_sd for contrast in measured]),
    }
    first, second = _pairs(z_um)
    rows = []
    for a, b in zip(first, second, strict=True):
        said = predictor.predict(frames[a], frames[b], DELTA_UM)
        rows.append((said.defocus_um, said.spread_um, said.doubt_um, said.difference_sd))
    names = ("predicted_um", "spread_um", "doubt_um", "difference_sd")
    return {**values, "first": first, "second": second, **dict(zip(names, np.array(rows).T, strict=True))}


def _truth(optics: SlideOptics, light: FieldLight, place_um: Array) -> tuple[float, bool]:
    """Best focus as the design defines it, and whether there is tissue."""
    crop = optics.field(place_um[0], place_um[1], (_TRUTH_PX, _TRUTH_PX), OBJECTIVE.canonical_pixel_um)
    step_um = OBJECTIVE.depth_of_field_um(SENSOR_PIXEL_UM) / 4
    best_um = find_best_focus(lambda z_um: crop.plane(z_um, channels=(1,))[..., 0], 0.0, 8.0, step_um)
    best_um = 0.0 if best_um is None else best_um
    return best_um, shows_tissue(light, best_um)


def _planes(rng: np.random.Generator) -> Array:
    """Planes from best focus in µm: close together near it, and pairs of them farther out."""
    near = np.linspace(-_NEAR_UM, _NEAR_UM, _NEAR_PLANES) + rng.uniform(-0.1, 0.1, _NEAR_PLANES)
    seconds = np.linspace(_NEAR_UM + DELTA_UM, _FAR_UM, _FAR_PAIRS) + rng.uniform(-0.5, 0.5, _FAR_PAIRS)
    firsts = seconds - DELTA_UM + rng.uniform(-0.5, 0.5, seconds.size)
    return np.sort(np.concatenate([near, seconds, firsts, -seconds, -firsts]))


def _pairs(z_um: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of planes that two arrivals could make of Δ."""
    apart = z_um[None, :] - z_um[:, None]
    first, second = np.nonzero(np.abs(apart - DELTA_UM) <= _MOST_APART_UM)
    return first, second


def _expose(light: FieldLight, z_um: Array, rng: np.random.Generator) -> list[Frame]:
    """A frame at each z, with the instrument's vibration, flicker and noise."""
    settings, clock, lamp = CameraSettings(frame_shape=(_FRAME_PX, _FRAME_PX)), VirtualClock(), SimulatedLamp()
    lamp.on()
    return [
        SimulatedCamera(settings, partial(_moved, light, float(z)), Sensor(), lamp, clock, rng).snap() for z in z_um
    ]


def _moved(light: FieldLight, z_um: float, shift_px: tuple[float, float]) -> NDArray[np.float32]:
    """The light at one z, moved by vibration."""
    return np.asarray(light.plane(z_um, shift_px=shift_px), dtype=np.float32)


def _strips(frame: Frame) -> list[float]:
    """Sharpness of the left, right, upper and lower tenth of a frame."""
    wide = round(_STRIP_SHARE * frame.shape[0])
    return [log_sharpness(part) for part in (frame[:, :wide], frame[:, -wide:], frame[:wide], frame[-wide:])]


def read_bank(path: Path) -> Bank:
    """Read a bank. Raises FileError if the file is missing or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as values:
            read = {name: values[name] for name in Bank.__dataclass_fields__}
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError) as error:
        raise FileError(f"{path}: is not a bank of rendered fields: {error}") from error
    return Bank(**{name: value.astype(_KINDS.get(value.dtype.kind, value.dtype)) for name, value in read.items()})


def write_bank(bank: Bank, path: Path) -> None:
    """Write a bank as npz, rounded to what it is good for. Raises FileError if that fails."""
    values = {
        name: value.astype({"f": np.float32, "i": np.int16}.get(value.dtype.kind, value.dtype))
        for name, value in vars(bank).items()
    }
    try:
        np.savez_compressed(path, **values)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
