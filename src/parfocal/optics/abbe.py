"""Partially coherent light the slow way: an Abbe sum over source points, through a specimen of many slices.

The fast light (`imaging.FieldLight`) is linear in the logarithm of the image and takes each layer for itself. Here a
tilted wave from each point of the condenser goes through the layers one after the other, so that light which one layer
has bent meets the next one, and intensities add up only behind the pupil. What the two share is what they mean: signs,
layers, focal shift and aberration. It is the reference that networks are measured on, and takes minutes for a stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from parfocal.optics.arrays import NUMPY, Arrays
from parfocal.optics.imaging import PHASE_WAVELENGTH_UM
from parfocal.optics.specimen import Layers, Specimen
from parfocal.optics.texture import Window
from parfocal.optics.transfer import RGB_WAVELENGTHS_UM, Illumination, spherical

SOURCE_POINTS = 40
"""Points of the condenser for planes within 4 µm, and 2.5 times as many beyond: see the ghosts in tests/optics."""

_FAR_UM = 4.0
_FAR_POINTS = 2.5

_FINER = 2
_MARGIN_PX = 48


class Exposure(NamedTuple):
    """One plane of a stack: true stage z in µm, and how far (y, x) the picture is moved, in pixels."""

    z_um: float
    shift_px: tuple[float, float] = (0.0, 0.0)


class AbbeOptics:
    """A specimen seen through an objective, by Abbe's sum.

    Args:
        specimen: what lies on the slide.
        illumination: objective, condenser, aberration.
        arrays: library and device to compute with.
        source_points: points of the condenser.
    """

    def __init__(
        self,
        specimen: Specimen,
        illumination: Illumination,
        arrays: Arrays = NUMPY,
        source_points: int = SOURCE_POINTS,
    ) -> None:
        self.specimen = specimen
        self.illumination = illumination
        self.arrays = arrays
        self.source_points = source_points

    def field(self, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float) -> AbbeLight:
        """The field of this shape (Y, X) centred at (x_um, y_um): its specimen is drawn once."""
        rows, columns = (_FINER * scipy.fft.next_fast_len(n + 2 * _MARGIN_PX) for n in shape)
        window = Window.centred(x_um, y_um, (rows, columns), pixel_um / _FINER)
        layers = self.specimen.layers(window, self.illumination.objective.canonical_z_um)
        return AbbeLight(layers, self.illumination, shape, pixel_um, self.arrays, self.source_points)


class AbbeLight:
    """The light of one field at any z.

    Args:
        layers: the specimen on pixels of half the camera's size.
        illumination: objective, condenser, aberration.
        shape: (Y, X) of the camera's frame.
        pixel_um: the camera's pixel in the specimen, in µm.
        arrays: library and device to compute with.
        source_points: points of the condenser for planes near focus.
    """

    def __init__(
        self,
        layers: Layers,
        illumination: Illumination,
        shape: tuple[int, int],
        pixel_um: float,
        arrays: Arrays = NUMPY,
        source_points: int = SOURCE_POINTS,
    ) -> None:
        self._layers, self._illumination, self._arrays = layers, illumination, arrays
        self._source = condenser_points(source_points)
        self._finer_source = condenser_points(math.ceil(_FAR_POINTS * source_points))
        # The lamp is below: it meets first what needs the highest stage to come into focus.
        self._order = np.argsort(-layers.focus_z_um)
        fine = layers.phase.shape[-2:]
        coarse = tuple(n // _FINER for n in fine)
        self._crop = tuple(slice((c - n) // 2, (c - n) // 2 + n) for c, n in zip(coarse, shape, strict=True))
        self._shape, self._pixel_um = shape, pixel_um
        self._fy, self._fx = (np.fft.fftfreq(n, pixel_um / _FINER) for n in fine)

    def plane(
        self, z_um: float, channels: tuple[int, ...] = (0, 1, 2), shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Light at one stage z in µm, as `FieldLight.plane`: float32 (Y, X, C), 1.0 is empty glass."""
        (light,) = self.stack([Exposure(z_um, shift_px)], channels)
        return np.asarray(light)

    def stack(self, exposures: Sequence[Exposure], channels: tuple[int, ...] = (0, 1, 2)) -> NDArray[np.float32]:
        """Light of many planes at once, which share the way through the specimen.

        Returns:
            float32 (P, Y, X, len(channels)); 1.0 is empty glass.
        """
        light = np.empty((len(exposures), *self._shape, len(channels)), dtype=np.float32)
        middle_um = float(np.median(self._layers.focus_z_um))  # dust lies far from the rest
        far = np.array([abs(exposure.z_um - middle_um) > _FAR_UM for exposure in exposures])
        for group, source in (
            (np.flatnonzero(~far).tolist(), self._source),
            (np.flatnonzero(far).tolist(), self._finer_source),
        ):
            for place, channel in enumerate(channels if group else ()):
                totals = self._channel(channel, [exposures[plane] for plane in group], source)
                for plane, total in zip(group, totals, strict=True):
                    light[plane, ..., place] = np.asarray(total)
        return light

    def _channel(self, channel: int, exposures: Sequence[Exposure], source: NDArray[np.float64]) -> list[Any]:
        """Intensity (Y, X) of each plane in one colour."""
        transmissions, wavelength_um = self._transmissions(channel), RGB_WAVELENGTHS_UM[channel]
        highest_um = float(self._layers.focus_z_um[self._order[-1]]) + self._illumination.focal_shift_um[channel]
        tilts = source * self._illumination.condenser_ratio * self._illumination.objective.na / wavelength_um
        totals: list[Any] = [0.0] * len(exposures)
        for tilt in tilts:
            wave = self._exit_wave(transmissions, tilt, wavelength_um)
            for index, (z_um, shift_px) in enumerate(exposures):
                totals[index] = totals[index] + self._intensity(wave, z_um - highest_um, shift_px)
        return [total / len(tilts) for total in totals]

    def _transmissions(self, channel: int) -> list[Any]:
        """Complex transmission (Y, X) of each layer, in the order in which light meets them."""
        weights = (math.log(10) * self._layers.absorption[:, channel]).astype(np.float32)
        scale = np.float32(PHASE_WAVELENGTH_UM / RGB_WAVELENGTHS_UM[channel])
        transmissions = []
        for layer in self._order:
            absorbance = np.einsum("s,syx->yx", weights, self._layers.density[layer])
            wave = np.exp(-absorbance / 2 + 1j * scale * self._layers.phase[layer])
            transmissions.append(self._arrays.put(wave.astype(np.complex64)))
        return transmissions

    def _exit_wave(self, transmissions: list[Any], tilt: NDArray[np.float64], wavelength_um: float) -> _ExitWave:
        """What the pupil passes of the wave from one source point.

        The tilt stays out of the wave: frequencies are counted from the source point's own.
        """
        put, objective = self._arrays.put, self._illumination.objective
        fx, fy = ((f + shift).astype(np.float32) for f, shift in zip((self._fx, self._fy), tilt, strict=True))
        squared = fx[None, :] ** 2 + fy[:, None] ** 2
        highest = (objective.immersion_index / wavelength_um) ** 2
        axial = np.sqrt(np.maximum(np.float32(highest) - squared, 0))
        focus_z_um = self._layers.focus_z_um[self._order]
        spectrum = self._arrays.fft2(transmissions[0])
        for below_um, above_um, transmission in zip(focus_z_um, focus_z_um[1:], transmissions[1:], strict=False):
            way = np.where(squared < highest, _turned(axial, below_um - above_um), 0)
            spectrum = self._arrays.fft2(self._arrays.ifft2(spectrum * put(way)) * transmission)
        pupil_squared = squared * np.float32((wavelength_um / objective.na) ** 2)
        passed = np.flatnonzero(pupil_squared <= 1)
        aberration = self._illumination.spherical_waves * spherical(pupil_squared.ravel()[passed])
        row, column = np.divmod(passed, squared.shape[1])
        return _ExitWave(
            put(passed),
            spectrum.reshape(-1)[put(passed)] * put(_turned(aberration.astype(np.float32), 1.0)),
            put(axial.ravel()[passed]),
            put(self._fy[row].astype(np.float32)),
            put(self._fx[column].astype(np.float32)),
        )

    def _intensity(self, wave: _ExitWave, defocus_um: float, shift_px: tuple[float, float]) -> Any:
        """Intensity (Y, X) on the camera's pixels, which take the mean over their area."""
        xp, shape = self._arrays.xp, (self._fy.size, self._fx.size)
        moved_y_um, moved_x_um = (shift * self._pixel_um for shift in shift_px)
        waves = wave.axial * defocus_um + wave.fy * moved_y_um + wave.fx * moved_x_um
        spectrum = xp.zeros(self._fy.size * self._fx.size, dtype=xp.complex64, device=self._arrays.device)
        spectrum[wave.place] = wave.amplitude * xp.exp(-2j * math.pi * waves)
        field = self._arrays.ifft2(spectrum.reshape(shape))
        fine = xp.real(field) ** 2 + xp.imag(field) ** 2
        binned = fine[0::2, 0::2] + fine[1::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 1::2]
        return binned[self._crop] / _FINER**2


class _ExitWave(NamedTuple):
    """The wave behind the pupil: places in the flat spectrum, amplitudes there, and frequencies in cycles/µm."""

    place: Any
    amplitude: Any
    axial: Any
    fy: Any
    fx: Any


def _turned(frequency: NDArray[np.float32], way: float) -> NDArray[np.complex64]:
    """exp(2πi · frequency · way)."""
    angle = frequency * np.float32(2 * math.pi * way)
    turned = np.empty(angle.shape, dtype=np.complex64)
    turned.real, turned.imag = np.cos(angle), np.sin(angle)
    return turned


def condenser_points(count: int) -> NDArray[np.float64]:
    """(count, 2) points that fill the unit disc evenly: Vogel's spiral."""
    index = np.arange(count)
    turn, radius = index * math.pi * (3 - math.sqrt(5)), np.sqrt((index + 0.5) / count)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)
