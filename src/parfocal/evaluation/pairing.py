"""Which planes of a stack make a pair, and what their distance means to a network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from parfocal.errors import SettingsError
from parfocal.optics.objective import Objective
from parfocal.stacks.stack import FocalStack

PUBLIC_OBJECTIVE = Objective(20, 0.75)
"""The lens whose scale stands in where nobody knows a stack's own: that of the paper's public set."""

DELTA_U = 2.0 / PUBLIC_OBJECTIVE.canonical_z_um
"""Δ in units of u: 2 µm at 20X/0.75 (paper, section 2.1), and optically the same at any other lens."""

SENSOR_PIXEL_UM = 3.45
"""Unbinned sensor pixel in µm that the depth of field is stated for."""

_SLACK = 1.05
_PLANES_OF_UNKNOWN_STEPS = 2


@dataclass(frozen=True)
class Pairing:
    """The pairs of a stack.

    Attributes:
        pairs: indices (first, second) of planes, the second above the first.
        skipped: pairs that were left out, since the network does not know their Δ.
        um_per_z: µm for one unit of the stack's z; nominal where `is_scaled` is False.
        lens: the stack's objective; None where it is unknown: then its pixels count as the network's own.
        pixel_size_um: of the stack's frames, where the lens is known.
        unit_um: µm for one u.
        half_dof_um: half the depth of field; None without scale.
    """

    pairs: tuple[tuple[int, int], ...]
    skipped: int
    um_per_z: float
    lens: Objective | None
    pixel_size_um: float
    unit_um: float
    half_dof_um: float | None

    @property
    def is_scaled(self) -> bool:
        """Whether distances in µm mean anything."""
        return self.half_dof_um is not None


def pair_up(
    stack: FocalStack,
    delta_u: tuple[float, float],
    delta_planes: int | None = None,
    um_per_step: float | None = None,
) -> Pairing:
    """The pairs of a stack at the Δ of its optics, found by value of z.

    Δ is the whole number of planes nearest to 2 µm at 20X/0.75, or to what looks like it at the stack's own lens, that
    the network knows. Where the size of a step is unknown, or nobody knows the lens and Δ does not suit the network's,
    Δ counts as the middle of what the network knows: then there is an order and a sign, but no µm.

    Args:
        stack: planes and what is known of their optics.
        delta_u: smallest and largest Δ that the network knows, in units of u.
        delta_planes: Δ as a number of planes instead; 2 where there is no scale.
        um_per_step: µm that one step stands for, for a stack in steps; where no lens is known, under 20X/0.75.

    Raises:
        SettingsError: if a setting is out of range or does not apply, or no pair suits the network.
    """
    _check(stack, delta_planes, um_per_step)
    lens = _lens(stack)
    unit_um = (lens or PUBLIC_OBJECTIVE).canonical_z_um
    known_um = (delta_u[0] * unit_um / _SLACK, delta_u[1] * unit_um * _SLACK)
    um_per_z = _um_per_z(stack, lens, um_per_step)
    is_guess = stack.z_unit == "um" and lens is None
    delta_z = None
    if delta_planes is None and um_per_z is not None:
        delta_z = _delta(stack, um_per_z, DELTA_U * unit_um, known_um, required=not is_guess)
    if delta_z is not None:
        pairs = list(stack.pairs(delta_z))
    else:
        planes = delta_planes or _PLANES_OF_UNKNOWN_STEPS
        pairs = [(index, index + planes) for index in range(len(stack.z) - planes)]
    distances = np.array([stack.z[second] - stack.z[first] for first, second in pairs])
    usual = float(np.median(distances)) if pairs else 1.0
    is_scaled = um_per_z is not None and not (is_guess and not _suits(usual * um_per_z, known_um))
    if um_per_z is None or not is_scaled:
        um_per_z = sum(delta_u) / 2 * unit_um / usual
    suited = tuple(pair for pair, far in zip(pairs, distances, strict=True) if _suits(far * um_per_z, known_um))
    if not suited:
        raise SettingsError(
            f"stack {stack.name}: no pair of its planes has a Δ that the network knows, {known_um[0]:.2f} to "
            f"{known_um[1]:.2f} µm{'' if delta_planes else '; a number of planes can be given as Δ'}"
        )
    return Pairing(
        pairs=suited,
        skipped=len(pairs) - len(suited),
        um_per_z=um_per_z,
        lens=lens,
        pixel_size_um=stack.optics.pixel_size_um if lens and stack.optics.pixel_size_um else 1.0,
        unit_um=unit_um,
        half_dof_um=_depth_of_field_um(stack, lens or PUBLIC_OBJECTIVE) / 2 if is_scaled else None,
    )


def _check(stack: FocalStack, delta_planes: int | None, um_per_step: float | None) -> None:
    if len(stack.z) < 2:
        raise SettingsError(f"stack {stack.name} has {len(stack.z)} plane: a pair needs two")
    if delta_planes is not None and not 1 <= delta_planes < len(stack.z):
        raise SettingsError(f"Δ of {delta_planes} planes: stack {stack.name} allows 1 to {len(stack.z) - 1}")
    if um_per_step is not None and stack.z_unit != "step":
        raise SettingsError(f"stack {stack.name} has its z in µm: {um_per_step:g} µm per step does not apply")
    if um_per_step is not None and not 0 < um_per_step < math.inf:
        raise SettingsError(f"{um_per_step:g} µm per step is not above 0 µm")


def _lens(stack: FocalStack) -> Objective | None:
    """The objective, where the record knows all that fixes the network's scale."""
    optics = stack.optics
    if optics.na is None or optics.pixel_size_um is None:
        return None
    return Objective(optics.magnification or PUBLIC_OBJECTIVE.magnification, optics.na, optics.immersion_index)


def _um_per_z(stack: FocalStack, lens: Objective | None, um_per_step: float | None) -> float | None:
    if stack.z_unit == "um":
        return 1.0
    return um_per_step or (stack.optics.step_um if lens else None)


def _delta(
    stack: FocalStack, um_per_z: float, wanted_um: float, known_um: tuple[float, float], *, required: bool
) -> float | None:
    """Δ in the stack's unit: the whole number of planes nearest to the wanted one that the network knows, if any."""
    spacing_um = float(np.median(np.diff(stack.z))) * um_per_z
    fewest, most = math.ceil(known_um[0] / spacing_um), math.floor(known_um[1] / spacing_um)
    planes = min(max(round(wanted_um / spacing_um), fewest, 1), most)
    if fewest <= planes <= most:
        return planes * spacing_um / um_per_z
    if required:
        raise SettingsError(
            f"stack {stack.name}: its planes are {spacing_um:.2f} µm apart, and no number of them is a Δ that the "
            f"network knows, {known_um[0]:.2f} to {known_um[1]:.2f} µm; a number of planes can be given as Δ"
        )
    return None


def _suits(delta_um: float, known_um: tuple[float, float]) -> bool:
    return known_um[0] <= delta_um <= known_um[1]


def _depth_of_field_um(stack: FocalStack, lens: Objective) -> float:
    """Total depth of field in µm; the camera's share from the recorded pixel where nobody knows the magnification."""
    pixel_um, magnification = stack.optics.pixel_size_um, stack.optics.magnification
    if magnification is None and stack.optics.na is not None and pixel_um is not None:
        return lens.depth_of_field_um(pixel_um * lens.magnification)
    return lens.depth_of_field_um(SENSOR_PIXEL_UM)
