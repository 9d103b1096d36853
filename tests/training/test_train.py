"""Training goes on where it stopped, and arrives where it would have."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (the train extra)")
pytest.importorskip("onnx", reason="export needs onnx (the train extra)")
pytestmark = pytest.mark.train

from parfocal.errors import FileError, SettingsError  # noqa: E402
from parfocal.focus.predictor import open_network  # noqa: E402
from parfocal.training import train as training  # noqa: E402
from parfocal.training.recipe import Recipe, Stage, SynthesisSettings, read_recipe  # noqa: E402
from parfocal.training.train import train  # noqa: E402

RECIPE = Recipe(
    seed=7,
    alpha=0.35,
    batch=4,
    validate_every=3,
    synthesis=SynthesisSettings(shards=3, specimens_per_shard=2, validation_shards=1),
    stages=(
        Stage(patch_px=64, batches=7, learning_rate=1e-3, by_distance=False),
        Stage(patch_px=64, batches=6, learning_rate=1e-3, tied=True, stop_after=5),
        Stage(patch_px=64, batches=4, learning_rate=1e-3, near_u=(-9.0, 3.0), far_share=0.3),
        Stage(patch_px=96, batches=4, learning_rate=5e-4),
    ),
)
RUNS = Path(__file__).parents[2] / "runs"
LAST_STAGE = len(RECIPE.stages) - 1


class PulledPlugError(Exception):
    """The plug is pulled."""


def silent(*_: object) -> None:
    """Progress that nobody looks at."""


def pulled_at(stage: int, batch: int):
    def progress(what: str, done: int, total: int, note: str) -> None:
        if what.startswith(f"stage {stage + 1}") and done >= batch:
            raise PulledPlugError

    return progress


def checkpoint(out: Path) -> dict:
    return torch.load(out / "checkpoint.pt", weights_only=True)


@pytest.fixture(autouse=True)
def pairs_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small made-up pairs instead of rendered ones: `test_synthesis` looks at those."""

    def made_up(recipe: Recipe, *_: object) -> list[training.Chains]:
        rng = np.random.default_rng(recipe.seed)
        shards = []
        for _ in range(recipe.synthesis.shards):
            frames = rng.integers(20, 200, (2, 9, 112, 112, 3)).astype(np.uint8)
            defocus_u = np.arange(-12.0, 6.0, 2.0) + rng.uniform(-1, 1, (2, 1))
            shards.append(training.Chains(frames, defocus_u.astype(np.float32), np.full(2, 2.0, dtype=np.float32)))
        return shards

    monkeypatch.setattr(training, "render_all", made_up)


@pytest.fixture(scope="module")
def kept() -> dict[str, dict]:
    """The uninterrupted run, made once."""
    return {}


@pytest.fixture
def uninterrupted(kept: dict[str, dict], tmp_path_factory: pytest.TempPathFactory) -> dict:
    if not kept:
        out = tmp_path_factory.mktemp("straight")
        train(RECIPE, out, silent)
        kept.update(checkpoint(out))
    return kept


@pytest.mark.parametrize(("stage", "batch"), [(0, 3), (0, 6), (1, 3), (1, 5), (2, 3), (3, 4)])
def test_an_interrupted_run_reaches_the_same_weights(tmp_path: Path, uninterrupted: dict, stage: int, batch: int):
    with pytest.raises(PulledPlugError):
        train(RECIPE, tmp_path, pulled_at(stage, batch))
    assert not (tmp_path / "network.onnx").exists()
    train(RECIPE, tmp_path, silent)
    resumed = checkpoint(tmp_path)
    assert (resumed["stage"], resumed["batch"]) == (LAST_STAGE, 4)
    for name, value in uninterrupted["net"].items():
        torch.testing.assert_close(resumed["net"][name], value, rtol=1e-4, atol=1e-5, msg=name)
    seen = [(entry["stage"], entry["batch"]) for entry in resumed["history"]]
    assert seen == [(entry["stage"], entry["batch"]) for entry in uninterrupted["history"]]


@pytest.mark.parametrize(("shown", "channels"), [("difference", 3), ("contrast", 6)])
def test_the_network_is_shown_what_the_recipe_says(tmp_path: Path, shown: str, channels: int):
    short = RECIPE.model_copy(update={"stages": RECIPE.stages[:1], "input": shown})
    session, contract = open_network(train(short, tmp_path, silent))
    assert contract.input == session.get_inputs()[0].name == shown
    assert session.get_inputs()[0].shape[1:] == [channels, 64, 64]


def test_the_contract_says_the_delta_of_the_recipe(tmp_path: Path):
    synthesis = RECIPE.synthesis.model_copy(update={"delta_u": (1.7, 4.4)})
    other = RECIPE.model_copy(update={"stages": RECIPE.stages[:1], "synthesis": synthesis})
    assert open_network(train(other, tmp_path, silent))[1].delta_u == (1.7, 4.4)


def test_a_recipe_with_textures_wants_their_folder(tmp_path: Path):
    synthesis = RECIPE.synthesis.model_copy(update={"textures": ("tissue.png",)})
    with pytest.raises(FileError, match=r"1 images: say where with --textures DIR"):
        train(RECIPE.model_copy(update={"synthesis": synthesis}), tmp_path / "a", silent)
    with pytest.raises(FileError, match=r"texture .*tissue\.png is missing"):
        train(RECIPE.model_copy(update={"synthesis": synthesis}), tmp_path / "b", silent, tmp_path)


def test_a_checkpoint_is_written_at_every_look_at_the_held_out_pairs(uninterrupted: dict):
    seen = [(entry["stage"], entry["batch"]) for entry in uninterrupted["history"]]
    assert seen == [(0, 3), (0, 6), (0, 7), (1, 3), (1, 5), (2, 3), (2, 4), (3, 3), (3, 4)]


def test_a_finished_run_only_exports_again(tmp_path: Path):
    short = RECIPE.model_copy(update={"stages": RECIPE.stages[:1]})
    train(short, tmp_path, silent)
    before = checkpoint(tmp_path)
    network = train(short, tmp_path, silent)
    assert open_network(network)[1].patch_px == 64
    assert checkpoint(tmp_path)["history"] == before["history"]


def test_the_tied_stage_is_tied_and_the_next_one_is_free_again(tmp_path: Path):
    def spread_after(stage: int) -> float:
        out = tmp_path / str(stage)
        train(RECIPE.model_copy(update={"stages": RECIPE.stages[: stage + 1]}), out, silent)
        weight = checkpoint(out)["net"]["head.weight"].view(1280, -1)
        return float(weight.std(dim=1).max())

    assert spread_after(1) < 1e-6
    assert spread_after(2) > 1e-4


def test_the_checkpoint_of_another_recipe_is_not_overwritten(tmp_path: Path):
    short = RECIPE.model_copy(update={"stages": RECIPE.stages[:1]})
    train(short, tmp_path, silent)
    with pytest.raises(FileError, match="was made by another recipe"):
        train(short.model_copy(update={"seed": 8}), tmp_path, silent)


def test_a_checkpoint_from_before_a_key_existed_counts_with_its_default(tmp_path: Path):
    short = RECIPE.model_copy(update={"stages": RECIPE.stages[:1], "validate_every": 500})
    train(short, tmp_path, silent)
    state = checkpoint(tmp_path)
    del state["recipe"]["validate_every"]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert train(short, tmp_path, silent).exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(FileError, match=r"checkpoint .*checkpoint\.pt cannot be read"):
        train(RECIPE, tmp_path, silent)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=r"training folder .* cannot be made"):
        train(RECIPE, tmp_path / "file", silent)


def test_the_rate_rises_over_a_twentieth_and_falls_to_a_hundredth():
    assert training.schedule(0.0) == 0
    assert training.schedule(0.05) == pytest.approx(1, abs=0.01)
    assert training.schedule(1.0) == pytest.approx(0.01)


def test_pairs_of_another_seed_are_not_taken(tmp_path: Path):
    train(RECIPE, tmp_path / "one", silent, pairs=tmp_path / "pairs")
    other = RECIPE.model_copy(update={"seed": 8})
    with pytest.raises(SettingsError, match="pairs of another seed or synthesis"):
        train(other, tmp_path / "two", silent, pairs=tmp_path / "pairs")
    wider = RECIPE.model_copy(update={"alpha": 0.5, "loss": "l2", "by_content": False, "lift_bands": False})
    train(wider, tmp_path / "three", silent, pairs=tmp_path / "pairs")


@pytest.mark.parametrize("recipe", sorted(RUNS.glob("ablations/*.toml")), ids=lambda path: path.stem)
def test_an_ablation_sees_as_many_pairs_as_the_others_and_the_same(recipe: Path):
    settings, paper = read_recipe(recipe), read_recipe(RUNS / "ablations" / "paper.toml")
    assert isinstance(settings, Recipe)
    assert isinstance(paper, Recipe)
    assert (settings.seed, settings.synthesis) == (paper.seed, paper.synthesis)
    # A third of the 60,000 that were meant for each: all twelve take an hour on one core so.
    assert settings.batch * sum(stage.batches for stage in settings.stages) == 19_200
