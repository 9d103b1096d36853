"""`parfocal evaluate` on stacks of known content: what it counts, says and refuses."""

import json
import shutil

import cv2
import numpy as np
import pytest
from numbered import numbered, reader_of

from parfocal.errors import FileError
from parfocal.evaluation import report
from parfocal.evaluation.metrics import Summary
from parfocal.evaluation.plots import draw_evaluation, error_by_defocus
from parfocal.evaluation.published import PUBLISHED, table_1
from parfocal.evaluation.report import Evaluation, as_text, evaluate
from parfocal.focus.predictor import NetworkContract

Z_UM = np.arange(-5, 5.5, 0.5)
STACK_KEYS = {
    "name", "pairs", "rank_correlation", "sign_accuracy", "zero_crossing_steps", "mean_abs_error_um",
}  # fmt: skip
SUMMARY_KEYS = {
    "pairs", "mean_abs_error_um", "sd_abs_error_um", "median_abs_error_um", "within_half_dof", "wrong_direction",
    "ci95",
}  # fmt: skip


@pytest.fixture
def read_off(monkeypatch, tmp_path):
    """`evaluate` with a predictor that reads the truth off the frames: `read_off(parts, error)`."""

    def run(parts, error=lambda true_um: 0.0, **settings):
        some = next(iter(parts.values()))[0]
        make, _ = reader_of(some, error)
        contract = NetworkContract(224, (2.0, 3.2), 20.0)
        monkeypatch.setattr(report, "network_predictor", lambda network: (make, contract, "sd-weighted"))
        return evaluate(parts, tmp_path / "known.onnx", **settings)

    return run


def test_the_result_has_the_keys_that_others_rely_on(read_off):
    told = read_off({"": [numbered(Z_UM, name="a"), numbered(Z_UM, name="b")]}, lambda true_um: 0.25).to_json()
    assert json.loads(json.dumps(told)) is not None
    assert told["kind"] == "recorded"
    assert [set(line) for line in told["stacks"]] == [STACK_KEYS] * 2
    assert set(told["overall"]) == SUMMARY_KEYS
    assert all(set(summary) == SUMMARY_KEYS for summary in told["votes"].values())
    assert told["vote"] in told["votes"]
    assert told["overall"]["mean_abs_error_um"] == pytest.approx(0.25)
    assert told["overall"]["pairs"] == 34
    assert told["overall"]["within_half_dof"] == 1.0
    assert told["votes"]["median"]["mean_abs_error_um"] == pytest.approx(0.35)


def test_stacks_with_a_rejected_label_are_left_out_and_named(read_off):
    parts = {"": [numbered(Z_UM, name="a"), numbered(Z_UM, name="bad", label_state="rejected")]}
    told = read_off(parts)
    assert [stack.name for stack in told.stacks] == ["a"]
    assert told.left_out == ("bad",)
    assert "labels rejected: bad" in as_text(told)
    with pytest.raises(FileError, match="1 found, and the labels of all were rejected"):
        read_off({"": [numbered(Z_UM, label_state="rejected")]})


def test_progress_ends_with_as_many_as_there_are(read_off):
    seen = []
    read_off({"": [numbered(Z_UM), numbered(Z_UM)]}, on_progress=lambda *told: seen.append(told))
    assert seen == [("evaluating", 0, 2), ("evaluating", 1, 2), ("evaluating", 2, 2)]


def test_the_public_set_gets_its_row_in_table_1(read_off):
    same, different = numbered(Z_UM, kind="public", name="s"), numbered(Z_UM, kind="public", name="d")
    told = read_off({"same": [same], "different": [different]}, lambda true_um: 0.2)
    assert told.to_json()["parts"]["same"]["mean_abs_error_um"] == pytest.approx(0.2)
    *published, mine = told.to_json()["table_1"]
    assert [row["method"] for row in published] == [row[0] for row in PUBLISHED]
    assert mine["same"] == pytest.approx((0.2, 0.0), abs=1e-9)
    assert "0.19 ± 0.18" in as_text(told)
    assert "0.20 ± 0.00" in as_text(told)


def test_table_1_holds_the_published_figures():
    rows = {row[0]: row[1:] for row in table_1("mine", {"same": Summary(1, 0.1, 0.05)})}
    assert rows["Jiang 2018, one image"] == ((0.46, 0.34), (0.53, 0.59))
    assert rows["Rai Dastidar 2019, difference, L2"] == ((0.22, 0.25), (0.36, 0.37))
    assert rows["the paper, phase 1"] == ((0.20, 0.18), (0.25, 0.27))
    assert rows["the paper, phase 2"] == ((0.19, 0.18), (0.25, 0.26))
    assert rows["mine"] == ((0.1, 0.05), None)


def test_the_label_of_a_simulated_stack_is_where_its_stage_really_was(read_off):
    true_z = tuple(float(z) for z in Z_UM + 0.4)
    stack = numbered(Z_UM, kind="simulated", true_z=true_z)
    told = read_off({"": [stack]})  # reads the commanded z
    assert told.kind == "simulated"
    assert told.overall.mean_abs_error_um == pytest.approx(0.4)


def test_the_error_over_defocus_is_that_of_each_bin():
    truth, said = np.array([-1.0, -0.9, 0.9, 1.0]), np.array([-1.2, -0.9, 1.0, 1.3])
    centre, mean_abs, bias, deviation = error_by_defocus(truth, said, bins=4)
    assert centre == pytest.approx([-0.75, 0.75])
    assert mean_abs == pytest.approx([0.1, 0.2])
    assert bias == pytest.approx([-0.1, 0.2])
    assert deviation == pytest.approx([0.1, 0.1])


def test_the_plot_is_a_picture_and_needs_a_label(read_off, tmp_path):
    told = read_off({"": [numbered(Z_UM)]}, lambda true_um: 0.1 * true_um)
    picture = cv2.imread(str(draw_evaluation(told.stacks, tmp_path / "plot.png")))
    assert picture.shape[0] > 300
    assert picture.std() > 5
    with pytest.raises(FileError, match="cannot be written"):
        draw_evaluation(told.stacks, tmp_path / "no-such-folder" / "plot.png")
    with pytest.raises(FileError, match="no stack has a best focus"):
        draw_evaluation(read_off({"": [numbered(Z_UM, best_z=None)]}).stacks, tmp_path / "plot.png")


def test_evaluate_prints_a_table_or_json_and_draws(parfocal, recorded_stack, network, tmp_path):
    code, out, _ = parfocal("evaluate", recorded_stack, "--plot", tmp_path / "errors.png", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["kind"] == "recorded"
    (line,) = told["stacks"]
    assert (line["name"], line["pairs"]) == ("my-stack", 10)
    assert line["rank_correlation"] > 0.9
    assert line["sign_accuracy"] == 1
    assert abs(line["zero_crossing_steps"]) < 1
    assert told["overall"]["ci95"] is None
    assert (tmp_path / "errors.png").is_file()


def test_evaluate_reads_a_folder_of_stacks(parfocal, recorded_stack, network, tmp_path):
    for name in ("one", "two"):
        folder = shutil.copytree(recorded_stack, tmp_path / "set" / name)
        description = json.loads((folder / "stack.json").read_text())
        description["planes"] = description["planes"][5:9]
        (folder / "stack.json").write_text(json.dumps(description))
    code, out, _ = parfocal("evaluate", tmp_path / "set")
    assert code == 0
    assert "one" in out
    assert "two" in out
    assert "sd-weighted" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--um-per-step", "1"), "has its z in µm"),
        (("--delta-planes", "3"), "no pair of its planes has a Δ that the network knows"),
        (("--delta-planes", "99"), "allows 1 to 10"),
        (("--network", "gone.onnx"), "gone.onnx cannot be read"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(parfocal, recorded_stack, network, arguments, message):
    code, out, err = parfocal("evaluate", recorded_stack, *arguments, "--json")
    assert code == 2
    assert not out
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_folder_without_stacks_is_refused(parfocal, network, tmp_path):
    code, _, err = parfocal("evaluate", tmp_path)
    assert code == 2
    assert "stack.json" in err


def test_an_evaluation_without_scale_prints_dashes(read_off):
    told = read_off({"": [numbered(range(9), best_z=4.0, z_unit="step", optics=type(numbered(Z_UM).optics)())]})
    assert isinstance(told, Evaluation)
    assert told.to_json()["confidence"] is None
    assert "–" in as_text(told)
