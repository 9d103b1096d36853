"""A training recipe: everything that fixes a network, read from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from parfocal.documents import read_toml
from parfocal.errors import SettingsError
from parfocal.focus.bands import PATCH_PX as BANDS_PATCH_PX

InputName = Literal[
    "difference", "contrast", "difference-unfiltered", "difference-unscaled", "difference-raw", "colour", "spectral"
]
"""Inputs that are images; `bands` is not one."""


_LARGEST_DELTA_U = 5.0


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SynthesisSettings(_Table):
    """Which simulated pairs: `shards` files of `specimens_per_shard` random specimens each.

    Attributes:
        shards: files of pairs.
        specimens_per_shard: random specimens in each.
        validation_shards: the first so many are held out.
        textures: images, by their names in the folder that `parfocal train --textures` gives, from which specimens are
            made too.
        textures_share: share of the specimens that are made from them.
        one_lens: whether all are seen through 20X/0.75, instead of lenses from 10X/0.25 to 100X/1.3.
        delta_u: smallest and largest distance of a pair, in units of u; the network promises to know these.
    """

    shards: int = Field(default=160, ge=2)
    specimens_per_shard: int = Field(default=60, ge=1)
    validation_shards: int = Field(default=6, ge=1)
    textures: tuple[str, ...] = ()
    textures_share: float = Field(default=0.3, ge=0, le=1)
    one_lens: bool = False
    delta_u: tuple[float, float] = (2.0, 3.2)

    @model_validator(mode="after")
    def _leaves_some_to_train_on(self) -> SynthesisSettings:
        if self.validation_shards >= self.shards:
            raise ValueError(
                f"{self.validation_shards} validation_shards leave none of {self.shards} shards to train on"
            )
        return self

    @field_validator("delta_u")
    @classmethod
    def _is_a_range(cls, delta_u: tuple[float, float]) -> tuple[float, float]:
        low, high = delta_u
        if not 0 < low <= high <= _LARGEST_DELTA_U:
            raise ValueError(
                f"Δ must be two finite numbers above 0, at most {_LARGEST_DELTA_U:g} u, the smaller one first"
            )
        return delta_u


class Stage(_Table):
    """One stretch of training at one patch size; the learning rate rises, then falls to a hundredth.

    Attributes:
        patch_px: side of the patch in pixels, a multiple of 32.
        batches: minibatches to train on; the pairs are gone through as often as that needs.
        learning_rate: highest rate of AdamW.
        by_distance: whether equation 2 weights the loss (the paper's phase 2).
        stop_after: ends the stage after so many batches, its schedule cut short.
        tied: whether the dense layer has the same weights at every place, as pooling has; what it learns so fits any
            patch size.
        near_u: (lowest, highest) defocus in u that matters most; pairs outside it are drawn less often.
        far_share: chance that a pair outside `near_u` is drawn.
    """

    patch_px: int = Field(default=224, ge=64, le=224, multiple_of=32)
    batches: int = Field(ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    by_distance: bool = True
    stop_after: int | None = Field(default=None, ge=1)
    tied: bool = False
    near_u: tuple[float, float] | None = None
    far_share: float = Field(default=1.0, ge=0, le=1)


class Recipe(_Table):
    """A network's recipe.

    Attributes:
        seed: of the pairs, the initial weights and the order.
        architecture: `mobilenet-v2`, or `resnet-50` for the baseline of Jiang et al. (2018).
        alpha: its width.
        input: what the network is shown: the paper's `difference`, or `contrast`, the difference and the mean on one
            scale (docs/decisions/0005), or what a baseline or ablation is shown (`focus.difference.PREPARATIONS`).
        loss: of a sample: `huber` (equation 1) or `l2`.
        by_content: whether the patch's standard deviation weights the loss (equation 3).
        lift_bands: whether bands of the input's spectrum are lifted or lowered at random; only for inputs that are
            standardised.
        batch: minibatch size.
        weight_decay: of AdamW.
        validate_every: minibatches between two looks at the held-out pairs; a checkpoint is written at each.
        synthesis: the pairs.
        stages: run in order.
    """

    seed: int = 1
    architecture: Literal["mobilenet-v2", "resnet-50"] = "mobilenet-v2"
    alpha: float = Field(default=0.5, gt=0, le=1.4)
    input: InputName = "difference"
    loss: Literal["huber", "l2"] = "huber"
    by_content: bool = True
    lift_bands: bool = True
    batch: int = Field(default=32, ge=2)
    weight_decay: float = Field(default=1e-2, ge=0)
    validate_every: int = Field(default=500, ge=1)
    synthesis: SynthesisSettings = Field(default_factory=SynthesisSettings)
    stages: tuple[Stage, ...] = Field(min_length=1)


class BandsRecipe(_Table):
    """A network on bands of frequency (`focus.bands`), for files that say `schedule = "bands"`.

    It is trained on rendered pairs and on many more that are drawn without a picture (`band_pairs`), mixed in every
    minibatch.

    Attributes:
        seed: of the pairs, the initial weights and the order.
        alpha: width of the network.
        drawn_shards: files of some 9,500 drawn pairs.
        epochs: times that the drawn pairs are gone through.
        batch: minibatch size.
        rendered_share: share of rendered pairs in a minibatch.
        learning_rate: highest rate of AdamW; it rises, then falls to a hundredth.
        weight_decay: of AdamW.
        noise: standard deviation of what is added to the standardised values.
        synthesis: the rendered pairs.
    """

    schedule: Literal["bands"]
    seed: int = 1
    alpha: float = Field(default=1.0, gt=0, le=4)
    drawn_shards: int = Field(default=60, ge=1)
    epochs: int = Field(default=8, ge=1)
    batch: int = Field(default=256, ge=4)
    rendered_share: float = Field(default=0.2, gt=0, lt=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=2e-2, ge=0)
    noise: float = Field(default=0.03, ge=0)
    synthesis: SynthesisSettings = Field(default_factory=SynthesisSettings)


class PaperRecipe(_Table):
    """The paper's training on z-stacks (section 2.4.3), for files that say `schedule = "paper"`.

    Attributes:
        seed: of the initial weights, the split by slide and the order.
        alpha: width of MobileNetV2: 1.0 on the public set, 0.5 on the paper's microscope.
        input: what the network is shown, as in `Recipe`, or `bands`, for which it is a `BandNet`.
        patch_px: side of its input in canonical pixels.
        delta_um: Δ of the pairs, found by value of z, in µm.
        batch: minibatch size.
        learning_rate: of SGD at the start of phase 1.
        momentum: of SGD.
        halve_every: epochs after which the learning rate is halved.
        patience: epochs without a lower validation loss after which a phase has converged.
        max_epochs: ends a phase that has not converged; None: never.
        held_out_share: share of the slides that are held out for validation.
    """

    schedule: Literal["paper"]
    seed: int = 1
    alpha: float = Field(default=1.0, gt=0, le=1.4)
    input: Literal["difference", "contrast", "bands"] = "difference"
    patch_px: int = Field(default=224, ge=64, le=224, multiple_of=32)
    delta_um: float = Field(default=2.0, gt=0)
    batch: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    halve_every: int = Field(default=20, ge=1)
    patience: int = Field(default=20, ge=1)
    max_epochs: int | None = Field(default=None, ge=1)
    held_out_share: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _bands_have_their_patch(self) -> PaperRecipe:
        if self.input == "bands" and self.patch_px != BANDS_PATCH_PX:
            raise ValueError(f"bands are of patches of {BANDS_PATCH_PX} px, not of {self.patch_px} px")
        return self


_KINDS: dict[str | None, type[Recipe | PaperRecipe | BandsRecipe]] = {
    None: Recipe,
    "paper": PaperRecipe,
    "bands": BandsRecipe,
}


def read_recipe(path: Path) -> Recipe | PaperRecipe | BandsRecipe:
    """The recipe in a TOML file: of the kind that its `schedule` says, or `Recipe` where it says none.

    Raises:
        FileError: if the file cannot be read or is not TOML.
        SettingsError: if a value is missing, unknown or out of range.
    """
    table = read_toml(path)
    schedule = table.get("schedule")
    if not isinstance(schedule, str | None) or schedule not in _KINDS:
        raise SettingsError(f"recipe {path}: schedule {schedule!r} is not 'paper' or 'bands', nor left out")
    try:
        return _KINDS[schedule].model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"recipe {path}: {where}: {first['msg']}, got {first['input']!r}") from error
