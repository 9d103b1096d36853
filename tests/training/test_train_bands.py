"""A network on bands is trained, goes on after a kill as if there had been none, and is exported with its doubt."""

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (the train extra)")
pytest.importorskip("onnx", reason="export needs onnx (the train extra)")
pytestmark = pytest.mark.train

from parfocal.errors import FileError, SettingsError  # noqa: E402
from parfocal.focus.bands import BANDS, ROWS  # noqa: E402
from parfocal.focus.predictor import open_network  # noqa: E402
from parfocal.training import band_pairs, shards, train_bands  # noqa: E402
from parfocal.training.band_net import BandNet  # noqa: E402
from parfocal.training.band_pairs import draw_band_pairs  # noqa: E402
from parfocal.training.export import export_onnx  # noqa: E402
from parfocal.training.loss import distance_weight, doubting_loss  # noqa: E402
from parfocal.training.model import ModelSettings  # noqa: E402
from parfocal.training.recipe import BandsRecipe, SynthesisSettings, read_recipe  # noqa: E402
from parfocal.training.synthesis import read_chains, shard_path  # noqa: E402
from parfocal.training.warm_start import read_network  # noqa: E402

SYNTHESIS = SynthesisSettings(shards=2, specimens_per_shard=2, validation_shards=1)
RECIPE = BandsRecipe(schedule="bands", seed=7, drawn_shards=1, epochs=3, batch=32, synthesis=SYNTHESIS)
SETTINGS = ModelSettings(1.0, 224, "bands", "bands")


def silent(what: str, done: int, total: int, note: str) -> None:
    pass


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pairs of the recipe, fewer in a drawn shard."""
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(band_pairs, "_SPECIMENS", 4)
        fewer.setattr(band_pairs, "_LIGHTS", 1)
        fewer.setattr(band_pairs, "_SCENES", 40)
        draw_band_pairs(folder, 0, RECIPE.seed)
    return folder


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train_bands.train_bands(RECIPE, out, silent, pairs=pairs)
    return out


def checkpoint(out: Path):
    return torch.load(out / "checkpoint.pt", weights_only=True)


def test_the_loss_falls(trained: Path):
    history = checkpoint(trained)["place"]["history"]
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    assert history[-1]["loss"] < history[0]["loss"]


def test_the_exported_network_says_what_the_trained_one_does(trained: Path):
    net = BandNet(SETTINGS)
    net.load_state_dict(checkpoint(trained)["net"])
    values = torch.randn(5, ROWS, BANDS)
    with torch.no_grad():
        defocus, doubt = net.eval().with_doubt(values)
    session, contract = open_network(trained / "network.onnx")
    told = session.run(None, {"bands": values.numpy()})
    assert (contract.input, contract.patch_px) == ("bands", 224)
    np.testing.assert_allclose(told[0], defocus.numpy(), atol=1e-4)
    np.testing.assert_allclose(told[1], doubt.numpy(), rtol=1e-4)


def test_a_training_that_was_stopped_arrives_at_the_same_network(
    trained: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped within an epoch, just after a checkpoint."""

    class StoppedError(Exception):
        pass

    steps, step = 0, train_bands._Run._step

    def stop_later(run, drawn, rendered):
        nonlocal steps
        steps += 1
        if steps == 14:
            run._save()
            raise StoppedError
        return step(run, drawn, rendered)

    monkeypatch.setattr(train_bands._Run, "_step", stop_later)
    with pytest.raises(StoppedError):
        train_bands.train_bands(RECIPE, tmp_path, silent, pairs=pairs)
    monkeypatch.undo()
    assert checkpoint(tmp_path)["place"]["batch"] > 0
    train_bands.train_bands(RECIPE, tmp_path, silent, pairs=pairs)
    expected, got = checkpoint(trained), checkpoint(tmp_path)
    assert got["place"]["history"] == expected["place"]["history"]
    for name, value in expected["net"].items():
        torch.testing.assert_close(got["net"][name], value, rtol=0, atol=0, msg=name)


def test_a_network_file_can_be_trained_further(trained: Path):
    net = read_network(trained / "network.onnx")
    assert isinstance(net, BandNet)
    for name, value in checkpoint(trained)["net"].items():
        torch.testing.assert_close(net.state_dict()[name], value, msg=name)


def test_a_file_of_another_width_is_refused(tmp_path: Path):
    import json

    import onnx

    path = export_onnx(BandNet(SETTINGS), tmp_path / "network.onnx", {})
    model = onnx.load(path)
    contract = json.loads(model.metadata_props[0].value) | {"alpha": 0.5}
    model.metadata_props[0].value = json.dumps(contract)
    onnx.save(model, path)
    with pytest.raises(FileError, match=r"not a band network of width 0\.5"):
        read_network(path)


def test_pairs_of_another_seed_are_not_taken(pairs: Path, trained: Path, tmp_path: Path):
    assert (pairs / "pairs.json").exists()
    with pytest.raises(SettingsError, match="pairs of another seed or synthesis"):
        train_bands.train_bands(RECIPE.model_copy(update={"seed": 8}), tmp_path, silent, pairs=pairs)


def test_pairs_from_before_a_key_existed_count_with_its_default(pairs: Path, trained: Path):
    import json

    path = pairs / "pairs.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["synthesis"]["one_lens"], record["synthesis"]["delta_u"]
    path.write_text(json.dumps(record), encoding="utf-8")
    shards.claim_pairs(pairs, RECIPE)


def test_pairs_of_another_delta_are_not_taken(pairs: Path, trained: Path):
    other = RECIPE.model_copy(update={"synthesis": SYNTHESIS.model_copy(update={"delta_u": (2.0, 4.0)})})
    with pytest.raises(SettingsError, match="pairs of another seed or synthesis"):
        shards.claim_pairs(pairs, other)


def test_the_delta_of_the_recipe_is_what_the_pairs_and_the_contract_hold(tmp_path: Path):
    """The drawn shard is made before, with fewer pairs, but the rendered ones come from the recipe."""
    synthesis = SynthesisSettings(shards=2, specimens_per_shard=1, validation_shards=1, delta_u=(4.0, 4.4))
    recipe = RECIPE.model_copy(update={"epochs": 1, "synthesis": synthesis})
    with pytest.MonkeyPatch.context() as fewer:
        for name, few in (("_SPECIMENS", 2), ("_LIGHTS", 1), ("_SCENES", 10)):
            fewer.setattr(band_pairs, name, few)
        (tmp_path / "pairs").mkdir()
        draw_band_pairs(tmp_path / "pairs", 0, recipe.seed, delta_u=synthesis.delta_u)
    network = train_bands.train_bands(recipe, tmp_path, silent)
    assert open_network(network)[1].delta_u == (4.0, 4.4)
    for shard in range(2):
        delta_u = read_chains(shard_path(tmp_path / "pairs", shard)).delta_u
        assert np.all((delta_u >= 4.0) & (delta_u <= 4.4))


def test_a_damaged_shard_is_named(tmp_path: Path):
    for content in (b"", b"PK no zip", (b"x" * 100)):
        (tmp_path / "bands-0000.npz").write_bytes(content)
        with pytest.raises(FileError, match=r"bands-0000\.npz is damaged"):
            band_pairs.read_band_pairs(tmp_path / "bands-0000.npz")
    np.savez(tmp_path / "other.npz", values=np.zeros((3, 4, 5)), defocus_u=np.zeros(3))
    with pytest.raises(FileError, match=r"holds \(3, 4, 5\)"):
        band_pairs.read_band_pairs(tmp_path / "other.npz")


def test_a_minibatch_has_pairs_of_both_kinds_whatever_their_share(pairs: Path, tmp_path: Path):
    recipe = RECIPE.model_copy(update={"batch": 4, "rendered_share": 0.99, "epochs": 1})
    assert train_bands.train_bands(recipe, tmp_path, silent, pairs=pairs).is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('schedule = "band"', "schedule 'band' is not 'paper' or 'bands'"),
        ("schedule = [1]", r"schedule \[1\] is not"),
        ('schedule = "paper"\ninput = "bands"\npatch_px = 128', "patches of 224 px, not of 128 px"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_recipe(tmp_path / "recipe.toml")


def test_the_doubt_that_costs_least_is_the_error_to_expect():
    error = torch.tensor([3.0, 1.0, 2.0])
    zeros = torch.zeros(3)
    costs = [float(doubting_loss(error, torch.full((3,), d), zeros)) for d in (1.0, 1.8, 2.0, 2.2, 4.0)]
    assert min(costs) == costs[2]


def test_the_loss_by_hand():
    predicted, doubt, defocus = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0]), torch.tensor([0.0, -5.0])
    error = [math.hypot(1.0, 0.1), math.hypot(3.0, 0.1)]
    each = [error[0] / 0.5 + math.log(0.5), error[1] / 2 + math.log(2.0)]
    weight = distance_weight(defocus).tolist()
    expected = sum(w * e for w, e in zip(weight, each, strict=True)) / sum(weight)
    assert float(doubting_loss(predicted, doubt, defocus)) == pytest.approx(expected, rel=1e-5)


def test_the_recipe_of_the_shipped_network_is_for_bands():
    recipe = read_recipe(Path(__file__).parents[2] / "runs" / "bands.toml")
    assert isinstance(recipe, BandsRecipe)


def test_the_network_has_its_number_of_parameters():
    assert sum(parameter.numel() for parameter in BandNet(SETTINGS).parameters()) == 258_914
