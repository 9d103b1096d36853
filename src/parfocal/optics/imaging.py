"""From a specimen to the noise-free light on the sensor, at any stage z."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from parfocal.optics.arrays import NUMPY, Arrays
from parfocal.optics.specimen import Layers, Specimen
from parfocal.optics.texture import Window
from parfocal.optics.transfer import RGB_WAVELENGTHS_UM, Illumination, TransferFunction, transfer_function

PHASE_WAVELENGTH_UM = 0.55
_RADIAL_STEPS = 2048
_MARGIN_PX = 24


class SlideOptics:
    """A specimen seen through an objective.

    Args:
        specimen: what lies on the slide.
        illumination: objective, condenser, aberration.
        arrays: library and device of the light; specimens are drawn with numpy and moved there.
    """

    def __init__(self, specimen: Specimen, illumination: Illumination, arrays: Arrays = NUMPY) -> None:
        self.specimen = specimen
        self.illumination = illumination
        self.arrays = arrays
        self.layer_pitch_um = illumination.objective.canonical_z_um
        self._transfer = tuple(transfer_function(illumination, wavelength) for wavelength in RGB_WAVELENGTHS_UM)

    def field(self, x_um: float, y_um: float, shape: tuple[int, int], pixel_um: float) -> FieldLight:
        """The field of this shape (Y, X) centred at (x_um, y_um): specimen drawn and transformed once, for all z."""
        padded = tuple(scipy.fft.next_fast_len(n + 2 * _MARGIN_PX, real=True) for n in shape)
        window = Window.centred(x_um, y_um, (padded[0], padded[1]), pixel_um)
        layers = self.specimen.layers(window, self.layer_pitch_um)
        return FieldLight(layers, self._transfer, self.illumination.focal_shift_um, shape, pixel_um, self.arrays)


class FieldLight:
    """One field's spectra, from which the light at any z follows (`transfer` states the model)."""

    def __init__(
        self,
        layers: Layers,
        transfer: tuple[TransferFunction, ...],
        focal_shift_um: tuple[float, float, float],
        shape: tuple[int, int],
        pixel_um: float,
        arrays: Arrays = NUMPY,
    ) -> None:
        self._arrays = arrays
        self._transfer = transfer
        self._focal_shift_um = focal_shift_um
        self._focus_z_um = layers.focus_z_um
        self._padded = (layers.phase.shape[-2], layers.phase.shape[-1])
        self._crop = tuple(slice((p - n) // 2, (p - n) // 2 + n) for p, n in zip(self._padded, shape, strict=True))
        self._density = arrays.rfft2(arrays.put(layers.density))  # (L, S, Y, X/2+1)
        self._phase = arrays.rfft2(arrays.put(layers.phase))  # (L, Y, X/2+1)
        self._absorption = layers.absorption  # (S, 3)
        self._fy_per_px = scipy.fft.fftfreq(self._padded[0])[:, None]
        self._fx_per_px = scipy.fft.rfftfreq(self._padded[1])[None, :]
        self._frequency_per_um = np.hypot(self._fy_per_px, self._fx_per_px) / pixel_um
        self._pixel_response = (np.sinc(self._fy_per_px) * np.sinc(self._fx_per_px)).astype(np.float32)
        self._radial: dict[int, Any] = {}
        self._absorbance: dict[int, Any] = {}

    def plane(
        self, z_um: float, channels: tuple[int, ...] = (0, 1, 2), shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> Any:
        """Light at one stage z.

        Args:
            z_um: true stage z in µm.
            channels: which of red, green, blue to render.
            shift_px: (y, x) by which the picture is moved, in pixels: vibration between two frames.

        Returns:
            float32 (Y, X, len(channels)) of the library that the light is computed with; 1.0 is empty glass.
        """
        xp = self._arrays.xp
        response: NDArray[Any] = self._pixel_response
        if shift_px != (0.0, 0.0):
            ramp = self._fy_per_px * shift_px[0] + self._fx_per_px * shift_px[1]
            response = (response * np.exp(-2j * math.pi * ramp)).astype(np.complex64)
        moved = self._arrays.put(response)
        return xp.stack([self._channel(z_um, channel, moved) for channel in channels], axis=-1)

    def _channel(self, z_um: float, channel: int, response: Any) -> Any:
        xp, transfer = self._arrays.xp, self._transfer[channel]
        phase_scale = np.float32(PHASE_WAVELENGTH_UM / RGB_WAVELENGTHS_UM[channel])
        absorbance, spectrum = self._absorbance_spectrum(channel), None
        for layer, focus_z_um in enumerate(self._focus_z_um):
            absorption, refraction = transfer.line(z_um - focus_z_um - self._focal_shift_um[channel])
            term = self._spread(phase_scale * refraction, channel) * self._phase[layer]
            term -= self._spread(absorption, channel) * absorbance[layer]
            if spectrum is None:
                spectrum = term
            else:
                spectrum += term
        spectrum *= response
        return xp.exp(self._arrays.irfft2(spectrum, self._padded)[self._crop])

    def _spread(self, line: NDArray[np.float32], channel: int) -> Any:
        """A transfer line at every frequency of the field, (Y, X/2+1)."""
        radial = self._radial_index(channel)
        fine = self._arrays.put(_resample(line, self._transfer[channel]))
        if isinstance(fine, np.ndarray):  # half the time of what the standard offers
            return np.take(fine, radial)
        return self._arrays.xp.take(fine, radial.reshape(-1)).reshape(radial.shape)

    def _absorbance_spectrum(self, channel: int) -> Any:
        """Spectrum of all stains together in one channel, natural logarithm, (L, Y, X/2+1)."""
        if channel not in self._absorbance:
            weights = [math.log(10) * float(absorption) for absorption in self._absorption[:, channel]]
            self._absorbance[channel] = sum(w * self._density[:, stain] for stain, w in enumerate(weights))
        return self._absorbance[channel]

    def _radial_index(self, channel: int) -> Any:
        """Index of each frequency into a line of `_RADIAL_STEPS` + 1 points, the last of which transmits nothing."""
        if channel not in self._radial:
            index = self._frequency_per_um / self._transfer[channel].cutoff_per_um * (_RADIAL_STEPS - 1)
            self._radial[channel] = self._arrays.put(np.minimum(np.rint(index), _RADIAL_STEPS).astype(np.int64))
        return self._radial[channel]


def _resample(line: NDArray[np.float32], transfer: TransferFunction) -> NDArray[np.float32]:
    """A transfer line on `_RADIAL_STEPS` points, then a zero for what lies beyond the cutoff."""
    fine = np.linspace(0.0, transfer.cutoff_per_um, _RADIAL_STEPS)
    return np.append(np.interp(fine, transfer.frequency_per_um, line), 0.0).astype(np.float32)
