"""A checkpoint: the state of a training and the recipe that made it, in one file that a kill leaves whole."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from parfocal.errors import FileError

CHECKPOINT_FILE = "checkpoint.pt"


def write_checkpoint(out: Path, recipe: BaseModel, state: dict[str, Any]) -> None:
    """Write it aside, then rename: a kill leaves the old one or the new one."""
    aside = out / "checkpoint.new"
    torch.save({**state, "recipe": recipe.model_dump(mode="json")}, aside)
    aside.replace(out / CHECKPOINT_FILE)


def read_checkpoint(out: Path, recipe: BaseModel) -> dict[str, Any] | None:
    """The state in a folder, on the CPU; None where there is none.

    Raises:
        FileError: if it is damaged, or another recipe made it.
    """
    path = out / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        # Through the model, so that a key which came later counts with its default.
        made_by = type(recipe).model_validate(state["recipe"])
    except ValidationError as error:
        raise FileError(f"checkpoint {path} was made by another kind of recipe, or is damaged") from error
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        # The message of a failed load is a page of advice to programmers.
        raise FileError(f"checkpoint {path} cannot be read: it is damaged ({type(error).__name__})") from error
    if made_by != recipe:
        raise FileError(f"checkpoint {path} was made by another recipe: choose another folder, or that recipe")
    return state
