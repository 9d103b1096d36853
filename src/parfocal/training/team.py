"""Processes that train one network together, as `torchrun` starts them: each takes its share of every batch.

The loss of equation 3 is divided by the weights of the whole batch, so that the gradients are those of one process. On
GPUs batch normalisation counts the whole batch too; on CPUs torch cannot, and each process goes by its own share.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from parfocal.errors import SettingsError

T = TypeVar("T")

_PATIENCE = timedelta(days=2)
"""How long a process waits for another: one renders all pairs before the first batch."""


@dataclass(frozen=True)
class Team:
    """The processes of one training.

    Attributes:
        rank: of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that validates, writes files and shows progress."""
        return self.rank == 0

    def share(self, batch: Sequence[T]) -> Sequence[T]:
        """This process' part of a batch.

        Raises:
            SettingsError: if the batch has fewer samples than there are processes.
        """
        if len(batch) < self.size:
            raise SettingsError(f"a batch of {len(batch)} cannot be shared by {self.size} processes")
        return batch[self.rank :: self.size]

    def part_of(self, weight: Tensor) -> Tensor:
        """This process' part of all weight, times the size: what its loss counts in the mean of all."""
        if self.size == 1:
            return torch.ones_like(weight)
        total = weight.clone()
        distributed.all_reduce(total)
        return weight * self.size / total

    def together(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The network so that backward leaves the mean of all gradients; call what is returned, and keep the other."""
        if self.size == 1:
            return net
        return DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)

    def normalise(self, net: nn.Module, device: torch.device) -> None:
        """Let batch normalisation count the batch of all processes, where torch can: on GPUs."""
        if self.size > 1 and device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]

    def agree(self, values: tuple[float, ...] | None, count: int) -> tuple[float, ...]:
        """What the leading process found, told to all; None from the others."""
        if self.size == 1 and values is not None:
            return values
        told = torch.tensor(values if values is not None else [0.0] * count, dtype=torch.float64)
        distributed.broadcast(told, 0)
        return tuple(told.tolist())

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


ALONE = Team()
"""One process that trains by itself."""


def join_team() -> Team:
    """The team that `torchrun` has put this process into; one process is a team of its own.

    Raises:
        SettingsError: if the other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    # Gloo for what lies on the CPU, also beside GPUs: the network itself may be there (--device cpu).
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise SettingsError(f"the processes of torchrun do not find each other: {error}") from error
    return Team(distributed.get_rank(), distributed.get_world_size())
