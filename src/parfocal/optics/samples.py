"""What can lie on the simulated slide: stain × shape × density.

Every sample is a function of (seed, place): any window of it can be drawn alone, and two windows agree in their
overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parfocal.errors import SettingsError
from parfocal.optics.specimen import LayerCanvas, Layers, Specimen, Topography, ellipse
from parfocal.optics.texture import Plane, Window, fractal, generator, noise, noise_at

HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)
GIEMSA_AZURE = (0.72, 0.62, 0.31)
GIEMSA_EOSIN = (0.09, 0.83, 0.55)
CRYSTAL_VIOLET = (0.69, 0.69, 0.22)
SAFRANIN = (0.11, 0.86, 0.50)
UNSTAINED = (0.55, 0.58, 0.60)

_CELL_UM = 64.0
_MARGIN_UM = 40.0
_TISSUE_CELL_UM = 1100.0
_LOBES = 4
_BACTERIA = 40


@dataclass(frozen=True)
class Appearance:
    """How a preparation differs from the standard one; the training set draws these at random.

    Attributes:
        stains: two rows of absorbance in (red, green, blue), or None for the sample's own stains.
        strength: factor on every optical density.
        phase: factor on every phase.
        size: factor on every length inside the sample.
        density: factor on the number of cells.
        thickness_um: range of depths over which the objects lie.
        edge_um: softness of the objects' edges.
        cover: share of the slide that tissue covers, for samples with empty areas.
        dust_per_mm2: specks on the coverslip, out of focus.
    """

    stains: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    strength: float = 1.0
    phase: float = 1.0
    size: float = 1.0
    density: float = 1.0
    thickness_um: float = 2.0
    edge_um: float = 0.5
    cover: float = 0.75
    dust_per_mm2: float = 2.0


@dataclass(frozen=True)
class Sample:
    """A drawn specimen: topography, appearance, seed and the function that draws it."""

    draw: Callable[[Sample, LayerCanvas], None]
    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    seed: int
    topography: Topography = field(default_factory=Topography)
    appearance: Appearance = field(default_factory=Appearance)

    def layers(self, window: Window, pitch_um: float) -> Layers:
        """The specimen inside the window, in layers at multiples of `pitch_um`."""
        absorption = np.array(self.appearance.stains or self.stains, dtype=np.float32) * self.appearance.strength
        canvas = LayerCanvas(window, pitch_um, absorption)
        self.draw(self, canvas)
        _dust(self, canvas)
        return canvas.layers()


@dataclass(frozen=True)
class _Objects:
    """Randomly scattered objects: places (N,) in µm, focus of their place (N,) in µm, uniform random numbers (N, K)."""

    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    surface_um: NDArray[np.float64]
    draws: NDArray[np.float64]

    def __iter__(self) -> Iterator[tuple[float, float, float, NDArray[np.float64]]]:
        return zip(self.x_um.tolist(), self.y_um.tolist(), self.surface_um.tolist(), self.draws, strict=True)

    def where(self, chosen: NDArray[np.bool_]) -> _Objects:
        return _Objects(self.x_um[chosen], self.y_um[chosen], self.surface_um[chosen], self.draws[chosen])


def _scatter(sample: Sample, window: Window, salt: int, per_mm2: float, draws: int) -> _Objects:
    """Objects in the window and a margin around it; each has `draws` random numbers of its own."""
    size = sample.appearance.size
    cell = _CELL_UM * max(1.0, size)
    expected = per_mm2 * (cell / 1000) ** 2 / size**2
    places, numbers = [np.zeros((0, 2))], [np.zeros((0, draws))]
    for i, j in window.cells(cell, _MARGIN_UM * size):
        rng = generator(sample.seed * 31 + salt, i, j)
        count = rng.poisson(expected)
        places.append((rng.random((count, 2)) + np.array([i, j])) * cell)
        numbers.append(rng.random((count, draws)))
    x, y = np.concatenate(places).T
    return _Objects(x, y, sample.topography.focus_z_um(x, y), np.concatenate(numbers))


def _he_tissue(sample: Sample, canvas: LayerCanvas) -> None:
    """Stroma of eosinophilic fibres with gaps, nuclei in it, and areas without tissue."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 1009
    cover = _tissue_cover(sample, window)
    surface = sample.topography.over(window)
    if cover.max() > 0:
        for sheet, offset in enumerate((-0.3, 0.3)):
            fibres = 1 - np.abs(fractal(seed + 100 * sheet + 1, window, 24 * look.size, 1.5 * look.size, 0.75))
            grain = fractal(seed + 100 * sheet + 2, window, 6 * look.size, 0.6 * look.size, 0.8)
            gaps = _smooth_step(fractal(seed + 3, window, 60 * look.size, 4 * look.size, 0.6), -0.75, 0.12)
            body = cover * gaps * np.clip(0.75 + 0.45 * fibres + 0.25 * grain, 0, None)
            depth = surface + np.float32(offset * look.thickness_um)
            canvas.add_sheet(depth, {1: 0.16 * body, 0: 0.05 * body}, np.float32(0.22 * look.phase) * body)
    chromatin = np.clip(1 + 0.35 * fractal(seed + 4, window, 3 * look.size, 0.7 * look.size, 0.9), 0.2, None)
    nuclei = _scatter(sample, window, 1, 9000 * look.density, 6)
    crowding = 0.55 + 0.45 * noise_at(seed + 5, nuclei.x_um, nuclei.y_um, 90 * look.size)
    # Loose cells thin out over some 150 µm beyond the tissue's border.
    in_tissue = np.clip(1 + 4 * _border_at(sample, nuclei.x_um, nuclei.y_um), 0, 1) ** 2
    kept = (nuclei.draws[:, 0] <= np.maximum(0.12, crowding)) & (nuclei.draws[:, 1] <= in_tissue)
    for x, y, surface_um, draws in nuclei.where(kept):
        radius = (2.2 + 2.0 * draws[2]) * look.size
        shape = ellipse(window, x, y, (radius * (1 + draws[3]), radius), math.pi * draws[4], look.edge_um)
        if shape:
            place, inside, _ = shape
            body = inside * chromatin[place]
            depth_um = surface_um + (draws[5] - 0.5) * look.thickness_um
            canvas.add_object(place, depth_um, {0: np.float32(0.55) * body}, np.float32(0.35 * look.phase) * body)


def _tissue_cover(sample: Sample, window: Window) -> Plane:
    """Where tissue is, 0 … 1, (Y, X)."""
    seed, size = sample.seed * 1009, sample.appearance.size
    coarse = noise(seed + 11, window, _TISSUE_CELL_UM * size) + np.float32(0.12) * noise(seed + 12, window, 90 * size)
    return _smooth_step(coarse + np.float32(_cover_threshold(sample.appearance.cover)), 0.0, 0.02)


def _border_at(sample: Sample, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive inside the tissue, at points (N,): what `_tissue_cover` thresholds."""
    seed, size = sample.seed * 1009, sample.appearance.size
    coarse = noise_at(seed + 11, x_um, y_um, _TISSUE_CELL_UM * size) + 0.12 * noise_at(seed + 12, x_um, y_um, 90 * size)
    return coarse + _cover_threshold(sample.appearance.cover)


def _cover_threshold(cover: float) -> float:
    """Level that leaves about this share of a unit normal field above −level."""
    cover = min(max(cover, 0.01), 0.99)
    return 0.55 * math.log(cover / (1 - cover)) + (3.0 if cover >= 0.99 else 0.0)


def _blood_smear(sample: Sample, canvas: LayerCanvas) -> None:
    """A monolayer of red cells with central pallor, white cells and platelets, Giemsa or Leishman stain."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 2003
    granules = np.clip(1 + 0.4 * fractal(seed + 1, window, 2.5 * look.size, 0.6 * look.size, 0.9), 0.1, None)
    red = _scatter(sample, window, 2, 13000 * look.density, 5)
    crowding = 0.6 + 0.4 * noise_at(seed + 2, red.x_um, red.y_um, 120 * look.size)
    for x, y, surface_um, draws in red.where(red.draws[:, 0] <= crowding):
        radius = (3.3 + 0.8 * draws[1]) * look.size
        shape = ellipse(window, x, y, (radius, radius * (0.85 + 0.15 * draws[2])), math.pi * draws[3], look.edge_um)
        if shape:
            place, inside, squared = shape
            body = inside * (1 - np.float32(0.75) * np.exp(-squared / np.float32(0.22)))
            depth_um = surface_um + 0.5 * (draws[4] - 0.5) * look.thickness_um
            canvas.add_object(place, depth_um, {1: np.float32(0.22) * body}, np.float32(0.55 * look.phase) * body)
    for x, y, surface_um, draws in _scatter(sample, window, 3, 90 * look.density, 3 + 4 * _LOBES):
        depth_um = surface_um + 0.5 * (draws[0] - 0.5) * look.thickness_um
        radius = (5.0 + 2.0 * draws[1]) * look.size
        parts = [_Disc(x, y, radius, 1, 0.1, 0.3)]
        for angle, reach, wide, _ in draws[3:].reshape(-1, 4)[: 1 + int(_LOBES * draws[2])]:
            away, lobe = 0.5 * radius * reach, (0.3 + 0.2 * wide) * radius
            lobe_x, lobe_y = x + away * math.cos(6.283 * angle), y + away * math.sin(6.283 * angle)
            parts.append(_Disc(lobe_x, lobe_y, lobe, 0, 0.55, 0.3))
        _draw_discs(sample, canvas, granules, depth_um, parts)
    for x, y, surface_um, draws in _scatter(sample, window, 4, 500 * look.density, 2):
        depth_um = surface_um + (draws[1] - 0.5) * look.thickness_um
        _draw_discs(sample, canvas, granules, depth_um, [_Disc(x, y, (0.8 + 0.7 * draws[0]) * look.size, 0, 0.25, 0.2)])


@dataclass(frozen=True)
class _Disc:
    """A round part of a cell: place and radius in µm, stain, density, phase."""

    x_um: float
    y_um: float
    radius_um: float
    stain: int
    density: float
    phase: float


def _draw_discs(sample: Sample, canvas: LayerCanvas, grain: Plane, depth_um: float, parts: list[_Disc]) -> None:
    look = sample.appearance
    for part in parts:
        radius = part.radius_um
        shape = ellipse(canvas.window, part.x_um, part.y_um, (radius, radius), 0.0, look.edge_um)
        if shape:
            place, inside, _ = shape
            body = inside * grain[place]
            stained = {part.stain: np.float32(part.density) * body}
            canvas.add_object(place, depth_um, stained, np.float32(part.phase * look.phase) * body)


def _gram_smear(sample: Sample, canvas: LayerCanvas) -> None:
    """Pus cells, epithelial cells, gram-positive cocci and gram-negative bacilli on a thin film of mucus."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 3001
    film = np.clip(0.4 + 0.5 * fractal(seed + 1, window, 80 * look.size, 1.2 * look.size, 0.8), 0, None)
    canvas.add_sheet(sample.topography.over(window), {1: 0.035 * film}, np.float32(0.06 * look.phase) * film)
    grain = np.clip(1 + 0.4 * fractal(seed + 2, window, 4 * look.size, 0.8 * look.size, 0.85), 0.1, None)
    for x, y, surface_um, draws in _scatter(sample, window, 5, 60 * look.density, 4):
        depth_um = surface_um + (draws[0] - 0.5) * look.thickness_um
        radius = (17 + 10 * draws[1]) * look.size
        shape = ellipse(window, x, y, (radius, radius * (0.6 + 0.4 * draws[2])), math.pi * draws[3], 2 * look.edge_um)
        if shape:
            place, inside, _ = shape
            body = inside * grain[place]
            canvas.add_object(place, depth_um, {1: np.float32(0.07) * body}, np.float32(0.15 * look.phase) * body)
        _draw_discs(sample, canvas, grain, depth_um, [_Disc(x, y, 3.7 * look.size, 1, 0.3, 0.2)])
    for x, y, surface_um, draws in _scatter(sample, window, 6, 700 * look.density, 3 + _LOBES):
        depth_um, radius = surface_um + (draws[0] - 0.5) * look.thickness_um, (4.5 + 1.5 * draws[1]) * look.size
        parts = [_Disc(x, y, radius, 1, 0.06, 0.2)]
        for angle in 6.283 * draws[3 : 5 + int((_LOBES - 1) * draws[2])]:
            lobe_x, lobe_y = x + 0.45 * radius * math.cos(angle), y + 0.45 * radius * math.sin(angle)
            parts.append(_Disc(lobe_x, lobe_y, 0.42 * radius, 1, 0.28, 0.25))
        _draw_discs(sample, canvas, grain, depth_um, parts)
    for x, y, surface_um, draws in _scatter(sample, window, 7, 260 * look.density, 3 + 4 * _BACTERIA):
        _draw_colony(sample, canvas, (x, y), surface_um + (draws[0] - 0.5) * look.thickness_um, draws[1:])


def _draw_colony(
    sample: Sample, canvas: LayerCanvas, centre_um: tuple[float, float], depth_um: float, draws: NDArray[np.float64]
) -> None:
    """Violet cocci in a cluster, or pink bacilli scattered about."""
    look, window = sample.appearance, canvas.window
    is_coccus = draws[0] < 0.5
    count = min(_BACTERIA, 2 + int(-8 * math.log(1 - draws[1])))
    reach = (5.0 if is_coccus else 22.0) * look.size
    radii = (0.5 * look.size, 0.5 * look.size) if is_coccus else (1.2 * look.size, 0.4 * look.size)
    stain, density = (0, 0.55) if is_coccus else (1, 0.45)
    for angle, away, turn, depth in draws[2:].reshape(-1, 4)[:count]:
        x = centre_um[0] + reach * away * math.cos(6.283 * angle)
        y = centre_um[1] + reach * away * math.sin(6.283 * angle)
        shape = ellipse(window, x, y, radii, math.pi * turn, look.edge_um)
        if shape:
            place, inside, _ = shape
            stained = {stain: np.float32(density) * inside}
            canvas.add_object(place, depth_um + 0.4 * (depth - 0.5), stained, np.float32(0.4 * look.phase) * inside)


def _unstained(sample: Sample, canvas: LayerCanvas) -> None:
    """Thick unstained clumps of cells, grey, with crisp lumpy outlines: organoids, casts, wet mounts."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 4001
    lumps = np.clip(1 + 0.6 * fractal(seed + 1, window, 8 * look.size, 0.8 * look.size, 0.85), 0.05, None)
    for x, y, surface_um, draws in _scatter(sample, window, 8, 700 * look.density, 4 + 3 * 8):
        radius, tone = (5 + 16 * draws[0] ** 2) * look.size, 0.15 + 0.6 * draws[1]
        depth_um = surface_um + (draws[2] - 0.5) * look.thickness_um
        for angle, reach, size in draws[4:].reshape(-1, 3)[: 2 + int(6 * draws[3])]:
            lobe = radius * (0.3 + 0.4 * size)
            lobe_x = x + radius * reach * math.cos(6.283 * angle)
            lobe_y = y + radius * reach * math.sin(6.283 * angle)
            part = _Disc(lobe_x, lobe_y, lobe, 0, 0.5 * tone, 0.45)
            _draw_discs(sample, canvas, lumps, depth_um + (size - 0.5), [part])


def _marrow(sample: Sample, canvas: LayerCanvas) -> None:
    """Crowded nucleated cells of many sizes and stages, red cells between them, fat that left round holes."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 6007
    fat = _smooth_step(noise(seed + 1, window, 70 * look.size), 0.9, 0.15)
    ground = np.float32(0.05) * (1 - fat) * np.clip(1 + fractal(seed + 2, window, 20 * look.size, 1.0, 0.8), 0, None)
    canvas.add_sheet(sample.topography.over(window), {1: ground}, np.float32(look.phase) * ground)
    chromatin = np.clip(1 + 0.45 * fractal(seed + 3, window, 2.5 * look.size, 0.6 * look.size, 0.9), 0.1, None)
    for x, y, surface_um, draws in _scatter(sample, window, 20, 5200 * look.density, 6):
        if draws[5] < 2 * noise_at(seed + 1, np.array([x]), np.array([y]), 70 * look.size)[0] - 1:
            continue
        depth_um = surface_um + (draws[0] - 0.5) * look.thickness_um
        radius = (3.5 + 6.5 * draws[1] ** 2) * look.size
        nucleus = radius * (0.55 + 0.35 * draws[2])
        away, angle = (radius - nucleus) * draws[3], 6.283 * draws[4]
        parts = [
            _Disc(x, y, radius, 1, 0.16, 0.3),
            _Disc(x + away * math.cos(angle), y + away * math.sin(angle), nucleus, 0, 0.45, 0.3),
        ]
        _draw_discs(sample, canvas, chromatin, depth_um, parts)
    for x, y, surface_um, draws in _scatter(sample, window, 21, 5000 * look.density, 2):
        depth_um = surface_um + (draws[0] - 0.5) * look.thickness_um
        _draw_discs(sample, canvas, chromatin, depth_um, [_Disc(x, y, (3.2 + draws[1]) * look.size, 1, 0.18, 0.4)])


def _body_fluid(sample: Sample, canvas: LayerCanvas) -> None:
    """Loose lymphocytes, and macrophages with vacuoles, on bare glass."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 7001
    grain = np.clip(1 + 0.4 * fractal(seed + 1, window, 3 * look.size, 0.7 * look.size, 0.9), 0.1, None)
    for x, y, surface_um, draws in _scatter(sample, window, 22, 450 * look.density, 3):
        depth_um, radius = surface_um + (draws[0] - 0.5) * look.thickness_um, (3.2 + 1.2 * draws[1]) * look.size
        parts = [_Disc(x, y, radius * 1.2, 1, 0.12, 0.2), _Disc(x, y, radius, 0, 0.5, 0.35)]
        _draw_discs(sample, canvas, grain, depth_um, parts)
    for x, y, surface_um, draws in _scatter(sample, window, 23, 160 * look.density, 4 + 3 * _LOBES):
        depth_um, radius = surface_um + (draws[0] - 0.5) * look.thickness_um, (8 + 6 * draws[1]) * look.size
        parts = [_Disc(x, y, radius, 1, 0.14, 0.25), _Disc(x + 0.4 * radius, y, 0.4 * radius, 0, 0.4, 0.3)]
        for angle, reach, size in draws[4:].reshape(-1, 3):  # vacuoles: less of what is around them
            away = 0.7 * radius * reach
            lobe_x, lobe_y = x + away * math.cos(6.283 * angle), y + away * math.sin(6.283 * angle)
            parts.append(_Disc(lobe_x, lobe_y, (0.1 + 0.15 * size) * radius, 1, -0.03, -0.05))
        _draw_discs(sample, canvas, grain, depth_um, parts)


def _semen(sample: Sample, canvas: LayerCanvas) -> None:
    """Stained sperm: oval heads with a pale cap, a thicker middle piece and a long thin curved tail."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 8009
    film = np.clip(0.3 + 0.4 * fractal(seed + 1, window, 60 * look.size, 1.5 * look.size, 0.8), 0, None)
    canvas.add_sheet(sample.topography.over(window), {1: 0.02 * film}, np.float32(0.05 * look.phase) * film)
    for x, y, surface_um, draws in _scatter(sample, window, 24, 900 * look.density, 4):
        depth_um, heading = surface_um + (draws[0] - 0.5) * look.thickness_um, 6.283 * draws[1]
        shape = ellipse(window, x, y, (2.4 * look.size, 1.5 * look.size), heading, look.edge_um)
        if shape:
            place, inside, _ = shape
            stained = {0: np.float32(0.5) * inside}
            canvas.add_object(place, depth_um, stained, np.float32(0.5 * look.phase) * inside)
        bend, joints = 1.5 * (draws[2] - 0.5), 24
        for joint in range(joints):
            heading += bend / joints
            step = 2.4 if joint == 0 else 1.7
            x, y = x - step * look.size * math.cos(heading), y - step * look.size * math.sin(heading)
            width = (0.55 if joint < 3 else 0.3) * look.size
            shape = ellipse(window, x, y, (1.3 * look.size, width), heading, 0.5 * look.edge_um)
            if shape:
                place, inside, _ = shape
                tail_um = depth_um + 1.5 * (draws[3] - 0.5) * joint / joints
                canvas.add_object(place, tail_um, {1: np.float32(0.3) * inside}, np.float32(0.25 * look.phase) * inside)


def _leaves(sample: Sample, canvas: LayerCanvas) -> None:
    """Flat pieces of any size that hide one another, as in natural images: fibres, keratin, plant matter."""
    window, look, seed = canvas.window, sample.appearance, sample.seed * 5003
    stains = np.full((2, *window.shape), 0.1, dtype=np.float32)
    for share, largest_um in ((0.35, 18.0), (0.5, 7.0), (0.7, 3.0)):
        pieces = _scatter(sample, window, 10 + int(largest_um), share * look.density / (largest_um / 1000) ** 2, 6)
        for x, y, _, draws in pieces:
            radius = largest_um * (0.3 + 0.7 * draws[0] ** 2) * look.size
            shape = ellipse(window, x, y, (radius, radius * (0.15 + 0.85 * draws[1])), math.pi * draws[2], look.edge_um)
            if shape:
                place, inside, _ = shape
                for stain in (0, 1):
                    old = stains[(stain, *place)]
                    stains[(stain, *place)] = old + inside * (np.float32(0.5 * draws[3 + stain] ** 2) - old)
    grain = np.clip(1 + 0.25 * fractal(seed + 1, window, 10 * look.size, 0.7 * look.size, 0.85), 0.1, None)
    stains *= grain
    density = stains.sum(axis=0)
    phase = np.float32(0.5 * look.phase) * density
    canvas.add_sheet(sample.topography.over(window), {0: stains[0], 1: stains[1]}, phase)


def _dust(sample: Sample, canvas: LayerCanvas) -> None:
    """Specks above the specimen, in one plane: each further depth would cost a layer."""
    for x, y, surface_um, draws in _scatter(sample, canvas.window, 9, sample.appearance.dust_per_mm2, 2):
        radius = 1.0 + 4.0 * draws[0]
        shape = ellipse(canvas.window, x, y, (radius, radius * (0.5 + 0.5 * draws[1])), 3.0 * draws[1], 0.8)
        if shape:
            place, inside, _ = shape
            plane_um = (round(surface_um / 20) - 1) * 20.0
            canvas.add_object(place, plane_um, {0: np.float32(0.5) * inside}, np.float32(0.3) * inside)


def _smooth_step(value: Plane, threshold: float, width: float) -> Plane:
    """0 below the threshold, 1 above it, over a ramp of `width`."""
    ramp = np.clip((value - np.float32(threshold)) / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)


_Draw = Callable[[Sample, LayerCanvas], None]
_Stains = tuple[tuple[float, float, float], tuple[float, float, float]]
SAMPLES: dict[str, tuple[_Draw, _Stains]] = {
    "he-tissue": (_he_tissue, (HAEMATOXYLIN, EOSIN)),
    "blood-smear": (_blood_smear, (GIEMSA_AZURE, GIEMSA_EOSIN)),
    "gram-smear": (_gram_smear, (CRYSTAL_VIOLET, SAFRANIN)),
    "leaves": (_leaves, (HAEMATOXYLIN, EOSIN)),
    "unstained": (_unstained, (UNSTAINED, UNSTAINED)),
    "marrow": (_marrow, (GIEMSA_AZURE, GIEMSA_EOSIN)),
    "body-fluid": (_body_fluid, (GIEMSA_AZURE, GIEMSA_EOSIN)),
    "semen": (_semen, (HAEMATOXYLIN, EOSIN)),
}


def make_sample(
    kind: str, seed: int, topography: Topography | None = None, appearance: Appearance | None = None
) -> Specimen:
    """A drawn specimen by name.

    Raises:
        SettingsError: for a name that is not in `SAMPLES`.
    """
    if kind not in SAMPLES:
        raise SettingsError(f"unknown specimen {kind!r}: choose one of {', '.join(SAMPLES)}, or image:PATH")
    draw, stains = SAMPLES[kind]
    return Sample(draw, stains, seed, topography or Topography(), appearance or Appearance())
