"""A recipe file: its defaults, and errors that name the value."""

from pathlib import Path

import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.training.recipe import Recipe, read_recipe
from parfocal.training.synthesis import DELTA_U

RUNS = Path(__file__).parents[2] / "runs"

STAGE = "[[stages]]\nbatches = 100\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_of_one_stage_has_the_defaults(tmp_path: Path):
    recipe = read_recipe(written(tmp_path / "short.toml", STAGE))
    assert (recipe.seed, recipe.alpha, recipe.batch, recipe.validate_every) == (1, 0.5, 32, 500)
    assert (recipe.stages[0].patch_px, recipe.stages[0].batches) == (224, 100)


def test_the_recipe_of_the_shipped_network_can_be_read():
    recipe = read_recipe(Path(__file__).parents[2] / "runs" / "first-network.toml")
    assert recipe.alpha == 0.5
    assert recipe.stages[-1].patch_px == 224


def test_a_recipe_survives_the_checkpoint_that_carries_it(tmp_path: Path):
    text = STAGE + "near_u = [-9.0, 3.0]\nstop_after = 10\n"
    recipe = read_recipe(written(tmp_path / "r.toml", text))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("alpha = 3.0\n" + STAGE, r"alpha: .*less than or equal to 1\.4, got 3\.0"),
        ("alpha = 'wide'\n" + STAGE, "alpha: .*got 'wide'"),
        ("batch = 1\n" + STAGE, "batch: .*greater than or equal to 2, got 1"),
        ("validate_every = 0\n" + STAGE, "validate_every: .*got 0"),
        ("stages = []\n", "stages: .*at least 1"),
        ("seed = 1\n", "stages: Field required"),
        ("colour = 'red'\n" + STAGE, "colour: .*not permitted, got 'red'"),
        (STAGE + "patch_px = 100\n", r"stages\.0\.patch_px: .*multiple of 32, got 100"),
        (STAGE + "patch_px = 256\n", r"stages\.0\.patch_px: .*less than or equal to 224, got 256"),
        ("[[stages]]\nbatches = 0\n", r"stages\.0\.batches: .*got 0"),
        (STAGE + "learning_rate = -1.0\n", r"stages\.0\.learning_rate: .*got -1\.0"),
        ("[synthesis]\nshards = 1\n" + STAGE, r"synthesis\.shards: .*got 1"),
        (
            "[synthesis]\nshards = 4\nvalidation_shards = 4\n" + STAGE,
            "synthesis: .*4 validation_shards leave none",
        ),
        ("[synthesis]\ndelta_u = [0, 2.0]\n" + STAGE, r"synthesis\.delta_u: .*above 0.*got \[0, 2\.0\]"),
        ("[synthesis]\ndelta_u = [3.2, 2.0]\n" + STAGE, r"synthesis\.delta_u: .*the smaller one first"),
        ("[synthesis]\ndelta_u = [2.0, inf]\n" + STAGE, r"synthesis\.delta_u: .*finite"),
        ("[synthesis]\ndelta_u = [2.0]\n" + STAGE, r"synthesis\.delta_u"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, text: str, named: str):
    with pytest.raises(SettingsError, match=named):
        read_recipe(written(tmp_path / "bad.toml", text))


def test_delta_is_the_usual_one_unless_the_recipe_says_another(tmp_path: Path):
    assert read_recipe(written(tmp_path / "usual.toml", STAGE)).synthesis.delta_u == DELTA_U
    other = written(tmp_path / "other.toml", "[synthesis]\ndelta_u = [1.7, 4.4]\n" + STAGE)
    assert read_recipe(other).synthesis.delta_u == (1.7, 4.4)


@pytest.mark.parametrize("name", ["one-lens", "any-lens", "any-delta"])
def test_the_experiments_have_the_same_budget(name: str):
    recipe, other = (read_recipe(RUNS / "experiments" / f"{which}.toml") for which in (name, "any-lens"))
    own = {"seed": True, "synthesis": {"one_lens", "delta_u"}}
    assert recipe.model_dump(exclude=own) == other.model_dump(exclude=own)


def test_what_is_no_toml_or_not_there_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"gone\.toml: cannot be read"):
        read_recipe(tmp_path / "gone.toml")
    with pytest.raises(FileError, match=r"broken\.toml is not TOML"):
        read_recipe(written(tmp_path / "broken.toml", "alpha = = 1"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match=r"binary\.toml is not TOML"):
        read_recipe(tmp_path / "binary.toml")
