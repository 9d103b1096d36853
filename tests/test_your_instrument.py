"""The way to a network of one's own: collect, label, train, scan, by the commands that a user types."""

import json

import pytest

from parfocal.focus.predictor import open_network
from parfocal.stacks.sets import read_stacks

RECIPE = """schedule = "paper"
input = "bands"
alpha = 1.0
learning_rate = 1e-4
max_epochs = 1
held_out_share = 0.5
"""


@pytest.mark.long  # docs/your-instrument.md takes the same steps
@pytest.mark.train
def test_stacks_of_two_slides_become_a_network_that_scans(parfocal, small_toml, tmp_path):
    pytest.importorskip("torch", reason="training needs torch (the train extra)")
    pytest.importorskip("onnx", reason="export needs onnx (the train extra)")
    microscope, stacks, mine = small_toml(), tmp_path / "stacks", tmp_path / "mine"
    (tmp_path / "recipe.toml").write_text(RECIPE)

    def run(*arguments):
        code, out, err = parfocal(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    for seed in (1, 2):
        slide = ("--specimen", "blood-smear", "--seed", seed, "--slide", f"smear-{seed}")
        few = ("--stacks", 1, "--range", 8, "--area", "0.25x0.2")
        assert run("collect", microscope, "--out", stacks, *slide, *few)["there"] == 1
    rows = run("label", stacks, "--accept-single-peaks", "--html", tmp_path / "review.html")["stacks"]
    assert [row["label_state"] for row in rows] == ["confirmed", "confirmed"]
    assert {stack.slide for stack in read_stacks(stacks)} == {"smear-1", "smear-2"}

    trained = run("train", tmp_path / "recipe.toml", "--stacks", stacks, "--from", "shipped", "--out", mine)
    assert trained["held_out"]["mean_abs_um"] <= 1.1 * trained["before"]["mean_abs_um"]
    assert open_network(mine / "network.onnx")[1].input == "bands"

    under = ("--specimen", "blood-smear", "--seed", 3, "--area", "0.15x0.1")
    report = run("scan", microscope, "--out", tmp_path / "slide", *under, "--network", mine / "network.onnx")
    assert report["fields"] == 4
    assert report["fields_unsure"] < 4
