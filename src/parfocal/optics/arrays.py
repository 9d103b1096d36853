"""Which array library and device light is computed on: numpy, or any other that knows the array API standard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy
import scipy.fft

_THREADS = 2


@dataclass(frozen=True)
class Arrays:
    """An array library and one of its devices.

    Attributes:
        xp: a namespace of the array API standard, for example `array_api_compat.torch`.
        device: where its arrays live; None for the library's default.
    """

    xp: Any = array_api_compat.numpy
    device: Any = None

    def put(self, array: Any) -> Any:
        """A numpy array as one of this library's, on the device."""
        return array if self._is_numpy else self.xp.asarray(array, device=self.device)

    def rfft2(self, array: Any) -> Any:
        """Spectra of real images (…, Y, X): (…, Y, X/2+1)."""
        if self._is_numpy:  # its own has one thread
            return scipy.fft.rfft2(array, workers=_THREADS)
        return self.xp.fft.rfftn(array, axes=(-2, -1))

    def irfft2(self, spectrum: Any, shape: tuple[int, int]) -> Any:
        """Real images of this shape (Y, X) from their spectra (…, Y, X/2+1)."""
        if self._is_numpy:
            return scipy.fft.irfft2(spectrum, s=shape, workers=_THREADS)
        return self.xp.fft.irfftn(spectrum, s=shape, axes=(-2, -1))

    def fft2(self, array: Any) -> Any:
        """Spectra (…, Y, X) of complex images."""
        return scipy.fft.fft2(array) if self._is_numpy else self.xp.fft.fftn(array, axes=(-2, -1))

    def ifft2(self, spectrum: Any) -> Any:
        """Complex images (…, Y, X) from their spectra."""
        return scipy.fft.ifft2(spectrum) if self._is_numpy else self.xp.fft.ifftn(spectrum, axes=(-2, -1))

    @property
    def _is_numpy(self) -> bool:
        return self.xp is array_api_compat.numpy


NUMPY = Arrays()
"""What is used unless told."""
