"""A predictor that knows the truth of a simulated instrument: scans without a network, and exact ones."""

import numpy as np

from parfocal.config import Instrument
from parfocal.focus.predictor import FocusPrediction, PairContrast


class Knowing:
    """Reads the defocus of the second image off the instrument itself; `before_answer` is called at each prediction."""

    def __init__(self, instrument: Instrument, before_answer=lambda asked: None):
        self._truth = instrument.truth
        self._before_answer = before_answer
        self.asked = 0

    def measure(self, first, second):
        change = second.astype(np.int16) - first
        return PairContrast(image_sd=float(first.std()), difference_sd=float(change.std()))

    def predict(self, first, second, delta_um):
        self.asked += 1
        self._before_answer(self.asked)
        x_um, y_um, z_um = self._truth.stage_position_um
        defocus_um = z_um - self._truth.best_focus_um(x_um, y_um)
        contrast = self.measure(first, second)
        patches = (defocus_um - 0.1, defocus_um + 0.1)
        return FocusPrediction(defocus_um, 0.1, patches, (1.0, 1.0), contrast.image_sd, contrast.difference_sd)
