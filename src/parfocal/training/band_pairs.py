"""Training pairs for a network on bands, drawn without rendering a picture: specimen × light × stain × z × noise.

What is left out here (JPEG but for its loss of colour, light that comes from beyond the patch, sharpness of the
intensity and not of its logarithm) is in the rendered pairs that are mixed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import FileError
from parfocal.focus.bands import BANDS, COLOUR_PAIRS, LEAST_POWER, ROWS, bands, features_of
from parfocal.merit import best_focus
from parfocal.optics.objective import Objective
from parfocal.training.band_light import BandLight, draw_light
from parfocal.training.band_specimens import FREQUENCY_OF_PART, MODES, PARTS, BandSpecimen, draw_specimen
from parfocal.training.synthesis import (
    DELTA_U,
    GREY_SHARE,
    NO_TEXTURES,
    Textures,
    made_grey,
    random_sensor_of_training,
    read_chains,
)

Array = NDArray[np.float32]

PAIRS_OF_SCENE = 8
"""Pairs of one specimen under one light."""

_SPECIMENS, _LIGHTS, _SCENES = 150, 12, 1200
_WINDOW_LOSS = 2.25
"""A window leaves fewer independent modes in a band than there are."""

_FOCUS_REACH_U, _FOCUS_STEP_U = 9.0, 0.37
_ARRIVAL_ERROR_U = (0.05, 0.35)  # at 20X/0.75 a stage that is 0.17 µm off has 0.21
_JPEG_SHARE, _ANY_STAIN_SHARE = 0.4, 0.5
_GREY_LEVELS = 255

_band = np.repeat(np.arange(BANDS), PARTS)
_modes = np.bincount(_band, MODES, BANDS)
_AVERAGE = np.zeros((BANDS, MODES.size), dtype=np.float32)
_AVERAGE[_band, np.arange(MODES.size)] = MODES / _modes[_band]
_INDEPENDENT = (_modes / 2 / _WINDOW_LOSS)[:, None, None]
_FREQUENCY_OF_BAND = _AVERAGE @ FREQUENCY_OF_PART
_radians = 2 * np.pi * FREQUENCY_OF_PART
_SHARPNESS = (MODES * _radians**2 * np.exp(-1.5 * _radians**2)).astype(np.float32)
"""What a mode adds to the Tenengrad after a Gaussian of 1 px, about."""


@dataclass(frozen=True)
class BandPairs:
    """Pairs ready for training.

    Attributes:
        values: (N, 16, 27) float32, as `focus.bands.bands` returns them.
        defocus_u: (N,) float32 true defocus of the second image, in units of u.
    """

    values: Array
    defocus_u: Array

    def __len__(self) -> int:
        return len(self.defocus_u)


def draw_band_pairs(
    folder: Path,
    shard: int,
    seed: int,
    textures: Textures = NO_TEXTURES,
    objectives: tuple[Objective, ...] = (),
    delta_u: tuple[float, float] = DELTA_U,
) -> Path:
    """Draw one shard of about 9,500 pairs into `folder` and return its path; one that is there already is left alone.

    Args:
        folder: where shards live.
        shard: index of the shard; with the seed it fixes everything drawn.
        seed: of the whole set.
        textures: real images, if there are any.
        objectives: lenses to draw from; see `synthesis.synthesise`.
        delta_u: smallest and largest distance of a pair, in units of u.

    Raises:
        FileError: if a texture cannot be read.
    """
    path = folder / f"bands-{shard:04d}.npz"
    if path.exists():
        return path
    rng = np.random.default_rng((seed, shard, 1))
    specimens = [draw_specimen(rng, textures, objectives) for _ in range(_SPECIMENS)]
    lights = [draw_light(rng, objectives) for _ in range(_LIGHTS)]
    drawn = []
    for _ in range(_SCENES):
        specimen, light = specimens[rng.integers(len(specimens))], lights[rng.integers(len(lights))]
        pairs = _draw_scene(rng, specimen, light, delta_u)
        if pairs is not None:
            drawn.append(pairs)
    return _write(
        path, np.concatenate([pairs.values for pairs in drawn]), np.concatenate([pairs.defocus_u for pairs in drawn])
    )


def read_band_pairs(path: Path) -> BandPairs:
    """The pairs of a shard.

    Raises:
        FileError: if it is missing, damaged or of another kind.
    """
    try:
        with np.load(path) as content:
            pairs = BandPairs(content["values"], content["defocus_u"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise FileError(f"{path} is damaged: delete it, and it is made again ({error})") from error
    if pairs.values.shape != (len(pairs), ROWS, BANDS):
        raise FileError(f"{path} holds {pairs.values.shape}, not pairs of {ROWS} × {BANDS}: delete it")
    return pairs


def bands_of_chains(path: Path) -> Path:
    """The bands of all pairs of a rendered shard, beside it, and the path of that file; what is there is left alone.

    Some pairs are made grey, as `synthesis` makes some stains: there are cameras without colour.
    """
    bands_path = path.with_suffix(".bands.npz")
    if bands_path.exists():
        return bands_path
    chains, rng = read_chains(path), np.random.default_rng(0)
    values, defocus_u = [], []
    for frames, row_u, delta_u in zip(chains.frames, chains.defocus_u, chains.delta_u, strict=True):
        seen = np.asarray(frames)
        if rng.random() < GREY_SHARE:
            seen = made_grey(seen)
        values += [bands(first, second, float(delta_u)) for first, second in pairwise(seen)]
        defocus_u.append(row_u[1:])
    return _write(bands_path, np.stack(values), np.concatenate(defocus_u))


def _write(path: Path, values: Array, defocus_u: Array) -> Path:
    aside = path.with_suffix(".new.npz")
    np.savez(aside, values=values, defocus_u=defocus_u)
    aside.replace(path)
    return path


@dataclass(frozen=True)
class _Scene:
    """A specimen with its stains, under a light: what gives an image's spectrum at any z."""

    specimen: BandSpecimen
    light: BandLight
    absorption: NDArray[np.float64]
    phase: float
    stretch: float

    def response(self, channel: int, z_u: NDArray[np.float64]) -> Array:
        """(81, Z, n) by which each component enters the image's logarithm in one colour, at stage z in u."""
        depth_u, component = np.unique(self.specimen.depth_u, return_inverse=True)
        defocus_u = z_u[:, None] - depth_u * self.stretch - self.light.focal_shift_u[channel]
        absorption, refraction = (line[:, component] for line in self.light.at(channel, defocus_u))
        stained = -np.log(10) * self.absorption[np.maximum(self.specimen.stain, 0), channel]
        is_phase = (self.specimen.stain < 0)[None, :, None]
        response = np.where(is_phase, self.phase * refraction, stained[None, :, None] * absorption)
        return np.ascontiguousarray(response.transpose(2, 0, 1), dtype=np.float32)

    def focus_u(self) -> float | None:
        """Stage z in u at which the green image is sharpest, or None where that is at the end of the reach."""
        z_u = np.arange(-_FOCUS_REACH_U, _FOCUS_REACH_U, _FOCUS_STEP_U)
        green = self.response(1, z_u)
        sharpness = np.einsum("fzn,fzn,f->z", green @ self.specimen.matrix, green, _SHARPNESS)
        focus_u = best_focus(z_u, sharpness.astype(np.float64))
        return focus_u if z_u[0] < focus_u < z_u[-1] else None

    def powers(self, z_u: NDArray[np.float64]) -> tuple[Array, Array]:
        """Without noise, in each band: every colour with every colour at each z (27, Z, 3, 3), and the colours of the
        first half of z with their own of the second half (27, Z/2, 3)."""
        responses = np.stack([self.response(channel, z_u) for channel in range(3)], axis=2)  # (81, Z, 3, n)
        parts, planes, _, components = responses.shape
        weighted = (responses.reshape(parts, -1, components) @ self.specimen.matrix).reshape(responses.shape)
        same = weighted @ responses.transpose(0, 1, 3, 2)
        half = planes // 2
        both = np.einsum("fzcn,fzcn->fzc", weighted[:, :half], responses[:, half:])
        return _averaged(same), _averaged(both)


def _averaged(parts: NDArray[Any]) -> Array:
    """Means over each band of what is known in its parts: (81, …) to (27, …)."""
    return np.asarray(np.tensordot(_AVERAGE, parts, axes=1), dtype=np.float32)


def _draw_scene(
    rng: np.random.Generator, specimen: BandSpecimen, light: BandLight, within_u: tuple[float, float] = DELTA_U
) -> BandPairs | None:
    """Pairs of one scene; None where it has no focus or shows less than the noise."""
    specimen = replace(specimen, matrix=specimen.matrix * _other_texture(rng)[:, None, None])
    stretch, phase = (float(np.exp(rng.uniform(np.log(low), np.log(high)))) for low, high in ((0.5, 1.6), (0.4, 2.2)))
    scene = _Scene(specimen, light, _random_absorption(rng, specimen), phase, stretch)
    focus_u = scene.focus_u()
    if focus_u is None:
        return None
    delta_u, arrival_u = float(rng.uniform(*within_u)), rng.uniform(*_ARRIVAL_ERROR_U)
    defocus_u = _random_defocus_u(rng)
    apart_u = delta_u + np.clip(rng.normal(0, arrival_u * np.sqrt(2), PAIRS_OF_SCENE), -0.9, 0.9)
    same, both = scene.powers(focus_u + np.concatenate([defocus_u - apart_u, defocus_u]))
    noise = _Noise.draw(rng, specimen.transmission)
    means = noise.add_to(rng, same, both)
    if means[:, :2].max() < 1.5 * noise.random.max():
        return None
    values = np.stack([features_of(pair, delta_u) for pair in means])
    values[:, 3:6], values[:, 9:15] = np.clip(values[:, 3:6], -1, 1), np.clip(values[:, 9:15], -1, 1)
    return BandPairs(values, defocus_u.astype(np.float32))


def _random_defocus_u(rng: np.random.Generator) -> NDArray[np.float64]:
    """Most within ±12 u, some near the focus, some far below it."""
    kind = rng.random(PAIRS_OF_SCENE)
    wide, near, far = (
        rng.uniform(-12, 11, PAIRS_OF_SCENE),
        rng.normal(0, 2.5, PAIRS_OF_SCENE),
        rng.uniform(-24, 13, PAIRS_OF_SCENE),
    )
    return np.asarray(np.where(kind < 0.75, wide, np.where(kind < 0.9, near, far)))


def _random_absorption(rng: np.random.Generator, specimen: BandSpecimen) -> NDArray[np.float64]:
    """(S, 3) absorbance of the stains."""
    stains = len(specimen.absorption)
    if specimen.is_photograph:
        absorption = np.eye(3) * rng.uniform(0.5, 1.3) + rng.normal(0, 0.12, (3, 3))
    elif rng.random() < _ANY_STAIN_SHARE:
        absorption = rng.uniform(0.03, 1.1, (stains, 3)) * rng.uniform(0.5, 1.3)
    else:
        other = specimen.absorption * rng.uniform(0.6, 1.4, (stains, 1)) + rng.uniform(-0.2, 0.2, (stains, 3))
        absorption = np.clip(other, 0.02, 1.4) * rng.uniform(0.5, 1.3)
    if rng.random() < GREY_SHARE:
        absorption = np.repeat(absorption.mean(axis=1, keepdims=True), 3, axis=1)
    return np.asarray(absorption)


def _other_texture(rng: np.random.Generator) -> Array:
    """(81,) smooth factor on the power, as a specimen of coarser or finer texture would have it."""
    octave = np.log(FREQUENCY_OF_PART)
    change = rng.normal(0, 0.5) * (octave - octave.mean())
    for _ in range(2):
        centre, width = rng.uniform(octave[0], octave[-1]), rng.uniform(0.3, 0.8)
        change = change + rng.normal(0, 0.4) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    return np.asarray(np.exp(change), dtype=np.float32)


@dataclass(frozen=True)
class _Noise:
    """Power of the camera's noise in the image's logarithm.

    Attributes:
        random: (27, 1, 3) of what changes from frame to frame.
        fixed: (27, 1, 1) of the pattern that all frames and colours share.
        shared: how far the colours share the random part: JPEG keeps little colour.
    """

    random: Array
    fixed: Array
    shared: float

    @staticmethod
    def draw(rng: np.random.Generator, transmission: float) -> _Noise:
        """A camera of training before a specimen of this mean transmission."""
        sensor = random_sensor_of_training(rng)
        grey = sensor.white_level * min(max(transmission ** rng.uniform(0.6, 1.4), 0.15), 1.0)
        gain = _GREY_LEVELS / sensor.full_well_e
        variance = (gain * gain * (sensor.dark_noise_e**2 + grey / gain) + 1 / 12) / grey**2
        random = np.broadcast_to(variance * rng.uniform(0.8, 1.6, 3), (BANDS, 1, 3))
        fixed, shared = np.full((BANDS, 1, 1), sensor.prnu**2), 0.0
        if rng.random() < _JPEG_SHARE:
            lost = np.exp(-rng.uniform(0, 4) * (2 * _FREQUENCY_OF_BAND) ** 2)[:, None, None]
            random, fixed, shared = random * lost, fixed * lost, float(rng.uniform(0.4, 1))
        return _Noise(random.astype(np.float32), fixed.astype(np.float32), shared)

    def add_to(self, rng: np.random.Generator, same: Array, both: Array) -> Array:
        """Band means of noisy pairs, as `focus.bands.products` lists them: (N, 5, 3, 27).

        Args:
            rng: decides the noise.
            same: (27, 2N, 3, 3) power of every colour with every colour, I1 of all pairs, then I2.
            both: (27, N, 3) power of I1 with I2.
        """
        half = both.shape[1]
        clean = np.maximum(np.einsum("bzcc->bzc", same), 0)
        scatter = (self.random + np.sqrt(2 * clean * self.random)) * _normal(rng, clean.shape) / np.sqrt(_INDEPENDENT)
        power = np.maximum(clean + self.fixed + self.random + scatter, LEAST_POWER)
        crossed = both + self.fixed + _crossed(rng, clean[:, :half], clean[:, half:], self.random, self.random)
        colours = []
        for a, b in COLOUR_PAIRS:
            known = self.fixed[..., 0] + self.shared * np.sqrt(self.random[..., a] * self.random[..., b])
            others = (
                clean[..., a : a + 1],
                clean[..., b : b + 1],
                self.random[..., a : a + 1],
                self.random[..., b : b + 1],
            )
            colours.append(same[..., a, b] + known + _crossed(rng, *others)[..., 0])
        coloured = np.stack(colours, axis=-1)
        rows = [power[:, :half], power[:, half:], crossed, coloured[:, :half], coloured[:, half:]]
        return np.ascontiguousarray(np.stack(rows).transpose(2, 0, 3, 1), dtype=np.float32)


def _crossed(rng: np.random.Generator, a: Array, b: Array, noise_a: Array, noise_b: Array) -> Array:
    """What noise of two images adds to their cross power, in the mean over a band's modes."""
    variance = (a * noise_b + b * noise_a + noise_a * noise_b) / (2 * _INDEPENDENT)
    return np.asarray(np.sqrt(variance) * _normal(rng, variance.shape))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)
