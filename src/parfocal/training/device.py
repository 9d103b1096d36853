"""Where training runs."""

from __future__ import annotations

import os

import numpy as np
import torch

from parfocal.errors import SettingsError


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or the fastest there is: a CUDA GPU, Apple's, the CPU.

    Raises:
        SettingsError: if torch knows no such device, or this machine has none.
    """
    if name is None:
        name = (
            f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def seed_torch(*place: int) -> None:
    """Give a batch, named by these numbers, randomness of its own: a training that was killed goes on as it would."""
    torch.manual_seed(int(np.random.default_rng(place).integers(2**31)))
