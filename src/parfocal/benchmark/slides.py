"""The slides of the policies' benchmark: smooth ones, as good preparations lie, and rough ones that try a scanner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from parfocal.optics.specimen import Topography

SlideKind = Literal["smooth", "rough"]


@dataclass(frozen=True)
class PolicySlide:
    """How a slide lies and what is on it.

    Attributes:
        name: of the slide.
        kind: smooth or rough.
        textures: kinds of field in the bank; where the slide is rendered, all of it is of the first.
        relief: from a seed to where the specimen lies.
        is_empty: whether there is nothing at (x_um, y_um).
    """

    name: str
    kind: SlideKind
    textures: tuple[str, ...]
    relief: Callable[[int], Topography]
    is_empty: Callable[[float, float], bool] = lambda x_um, y_um: False  # noqa: ARG005


def _relief(
    tilt: float, bow: float = 0.0, roughness: float = 0.0, cell_um: float = 1000.0, step: float = 0.0
) -> Callable[[int], Topography]:
    """Relief with a tilt in µm/mm in a direction of the seed's, bow in µm/mm², roughness in µm, a step in µm."""

    def draw(seed: int) -> Topography:
        rng = np.random.default_rng((seed, 3))
        way = rng.uniform(0, 2 * np.pi)
        return Topography(
            seed=seed,
            base_um=float(rng.uniform(-10.0, 10.0)),
            tilt_um_per_mm=(float(tilt * np.cos(way)), float(tilt * np.sin(way))),
            bow_um_per_mm2=float(bow * rng.choice([-1.0, 1.0])),
            roughness_um=roughness,
            roughness_cell_um=cell_um,
            step_um=step,
            step_at_um=float(rng.uniform(-300.0, 300.0)),
        )

    return draw


def _right_half(x_um: float, y_um: float) -> bool:  # noqa: ARG001
    return x_um > 0


SLIDES = (
    PolicySlide("tilted", "smooth", ("tissue",), _relief(tilt=3.0)),
    PolicySlide("bowed", "smooth", ("blood",), _relief(tilt=1.0, bow=0.4)),
    PolicySlide("tissue", "smooth", ("tissue",), _relief(tilt=1.0, roughness=0.3, cell_um=3000.0)),
    PolicySlide("dusty", "smooth", ("dusty-tissue",), _relief(tilt=1.5, bow=0.2)),
    PolicySlide("rugged", "rough", ("marrow",), _relief(tilt=1.0, roughness=6.0, cell_um=1500.0)),
    PolicySlide("sparse", "rough", ("sparse-smear",), _relief(tilt=2.0, roughness=0.5)),
    PolicySlide("step", "rough", ("tissue",), _relief(tilt=2.0, roughness=0.3, step=5.0)),
    PolicySlide("half-empty", "rough", ("tissue", "tissue-border"), _relief(tilt=2.0, roughness=0.3), _right_half),
)
"""Four of each kind."""

SLIDE_NAMES = tuple(slide.name for slide in SLIDES)
