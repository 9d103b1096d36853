"""The paper's training: two phases on stacks in the public layout, gone on with after a kill."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs torch (the train extra)")
pytest.importorskip("onnx", reason="export needs onnx (the train extra)")
pytestmark = pytest.mark.train

from public_set import write_public_set  # noqa: E402

from parfocal.cli import cli  # noqa: E402
from parfocal.config import shipped_network  # noqa: E402
from parfocal.errors import FileError, InputError, SettingsError  # noqa: E402
from parfocal.focus.difference import PREPARATIONS, paper_input  # noqa: E402
from parfocal.focus.predictor import open_network  # noqa: E402
from parfocal.optics.objective import Objective  # noqa: E402
from parfocal.stacks.public import read_public, split_by_slide  # noqa: E402
from parfocal.stacks.stack import StackOptics  # noqa: E402
from parfocal.training import phases  # noqa: E402
from parfocal.training.device import choose_device  # noqa: E402
from parfocal.training.export import export_onnx  # noqa: E402
from parfocal.training.model import FocusNet, ModelSettings  # noqa: E402
from parfocal.training.pairs import cut, objective_of, pairs_of, read_training_stacks, usable  # noqa: E402
from parfocal.training.phases import train_by_phases  # noqa: E402
from parfocal.training.recipe import PaperRecipe, read_recipe  # noqa: E402
from parfocal.training.warm_start import read_network  # noqa: E402

CPU = torch.device("cpu")
RECIPE = PaperRecipe(schedule="paper", alpha=0.35, patch_px=128, batch=8, max_epochs=2, held_out_share=0.34)
TOML = """schedule = "paper"
alpha = 0.35
patch_px = 128
batch = 8
max_epochs = 2
held_out_share = 0.34
"""
UNIT_UM = Objective(20, 0.75).canonical_z_um


def silent(*_: object) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(scope="module")
def public_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_public_set(tmp_path_factory.mktemp("public"), planes=9)


@pytest.fixture(scope="module")
def stacks(public_root: Path):
    return read_training_stacks(public_root)


@pytest.fixture(scope="module")
def trained(stacks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train_by_phases(RECIPE, stacks, out, silent, CPU)
    return out


def checkpoint(out: Path) -> dict:
    return torch.load(out / "checkpoint.pt", weights_only=True)


class TestPairs:
    def test_they_are_found_by_value_and_labelled_at_the_second_image(self, stacks):
        pairs = pairs_of(stacks, 2.0, 224)
        assert len(pairs) == 12 * 5
        for pair in pairs:
            z1, z2 = pair.stack.z[pair.first], pair.stack.z[pair.second]
            assert z2 - z1 == pytest.approx(2.0)
            assert pair.defocus_um == pytest.approx(z2)
            assert f"defocus{round(z2 * 1000)}" in pair.stack.files[pair.second].name

    def test_a_patch_is_cut_from_both_planes_at_the_same_place(self, stacks):
        pair = next(pair for pair in pairs_of(stacks[:1], 2.0, 96) if pair.corner != (16, 16))
        top, left = pair.corner
        first, second = cut(pair, 96)
        assert (first == pair.stack.plane(pair.first)[top : top + 96, left : left + 96]).all()
        assert (second == pair.stack.plane(pair.second)[top : top + 96, left : left + 96]).all()

    def test_other_optics_are_brought_to_the_canonical_scale(self, stacks):
        fine = replace(stacks[0], optics=StackOptics(pixel_size_um=0.345 / 2, na=0.75, magnification=40.0))
        assert cut(pairs_of([fine], 2.0, 96)[0], 96)[0].shape == (96, 96, 3)
        with pytest.raises(SettingsError, match="112 × 112 canonical px hold no patch of 224 px"):
            pairs_of([fine], 2.0, 224)

    def test_rejected_and_unlabelled_stacks_and_those_in_steps_are_left_out(self, stacks):
        unfit = (
            replace(stacks[0], label_state="rejected"),
            replace(stacks[1], best_z=None),
            replace(stacks[2], z_unit="step"),
        )
        assert usable([*unfit, stacks[3]]) == (stacks[3],)

    def test_one_objective_only(self, stacks):
        other = replace(stacks[0], optics=StackOptics(pixel_size_um=0.2, na=0.65))
        with pytest.raises(SettingsError, match="of one objective, these 2 have 2"):
            objective_of([stacks[1], other])
        with pytest.raises(SettingsError, match="numerical aperture"):
            objective_of([replace(stacks[0], optics=StackOptics())])
        with pytest.raises(SettingsError, match="no stack is left to train on: parfocal label"):
            objective_of([])


class TestTwoPhases:
    def test_the_public_layout_goes_through_training(self, trained: Path, stacks):
        session, contract = open_network(trained / "network.onnx")
        assert contract.input == "difference"
        assert contract.delta_u == pytest.approx((2.0 / UNIT_UM, 2.0 / UNIT_UM))
        fresh, known = split_by_slide(stacks, RECIPE.held_out_share, RECIPE.seed)
        assert not {s.slide for s in fresh} & {s.slide for s in known}
        assert contract.range_u * UNIT_UM == pytest.approx(max(abs(p.defocus_um) for p in pairs_of(fresh, 2.0, 128)))
        assert (trained / "curves.png").read_bytes()[:4] == b"\x89PNG"
        assert session.get_inputs()[0].shape[1:] == [3, 128, 128]

    def test_tensorboard_gets_the_numbers_of_every_epoch(self, trained: Path):
        reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = reading.EventAccumulator(str(trained / "tensorboard"))
        events.Reload()
        history = checkpoint(trained)["place"]["history"]
        told = [event.value for event in events.Scalars("validation_loss")]
        assert told == pytest.approx([entry["validation_loss"] for entry in history], rel=1e-5)

    def test_the_exported_network_is_the_best_of_phase_2_in_units_of_u(self, trained: Path, stacks):
        net = FocusNet(ModelSettings(0.35, 128))
        net.load_state_dict(checkpoint(trained)["place"]["best"])
        net.eval()
        session, _ = open_network(trained / "network.onnx")
        for pair in pairs_of(stacks[:2], 2.0, 128):
            patch = paper_input(*cut(pair, 128), 0.0)[None]
            with torch.no_grad():
                told_um = net(torch.from_numpy(patch)).numpy()
            assert session.run(None, {"difference": patch})[0] * UNIT_UM == pytest.approx(told_um, abs=1e-4)

    def test_the_schedule_is_the_papers(self, stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        losses = iter([5.0, 3.0, 4.0, 2.0, 2.5, 2.6, 2.7, 1.9, 2.0, 2.1, 2.2])
        monkeypatch.setattr(phases._Run, "_epoch", lambda self, place, optimiser, together: None)
        monkeypatch.setattr(phases._Run, "validate", lambda self, phase: (next(losses), 1.0, 0.0))
        recipe = RECIPE.model_copy(update={"max_epochs": None, "patience": 3, "halve_every": 2})
        train_by_phases(recipe, stacks, tmp_path, silent, CPU)
        history = checkpoint(tmp_path)["place"]["history"]
        assert [entry["phase"] for entry in history] == [1] * 7 + [2] * 4
        first = [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4, 1.25e-4]
        second = [5e-4, 5e-4, 2.5e-4, 2.5e-4]  # from the rate of the best epoch, the fourth
        assert [entry["learning_rate"] for entry in history] == pytest.approx(first + second)

    def test_phase_2_begins_with_the_best_weights_of_phase_1(
        self, stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        losses, seen = iter([1.0, 2.0, 0.5, 0.6]), []

        def epoch(run, place, optimiser, together):
            seen.append(float(run._net.head.bias.detach()))
            with torch.no_grad():
                run._net.head.bias += 1

        monkeypatch.setattr(phases._Run, "_epoch", epoch)
        monkeypatch.setattr(phases._Run, "validate", lambda self, phase: (next(losses), 1.0, 0.0))
        train_by_phases(RECIPE, stacks, tmp_path, silent, CPU)
        assert seen == [0.0, 1.0, 1.0, 2.0]

    def test_a_training_that_diverges_is_said_so(self, stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(phases._Run, "_epoch", lambda self, place, optimiser, together: None)
        monkeypatch.setattr(phases._Run, "validate", lambda self, phase: (np.nan, np.nan, 0.0))
        with pytest.raises(SettingsError, match=r"phase 1 .* less than 0\.001"):
            train_by_phases(RECIPE, stacks, tmp_path, silent, CPU)


class TestTrainingFurther:
    def test_the_network_in_a_file_comes_back(self, stacks):
        net = read_network(shipped_network())
        session, contract = open_network(shipped_network())
        prepare = PREPARATIONS[contract.input]
        for pair in pairs_of(stacks[:3], 2.0, 224):
            patch = prepare(*cut(pair, 224), 2.0 / UNIT_UM)[None]
            with torch.no_grad():
                told_u = net(torch.from_numpy(patch)).numpy()
            assert told_u == pytest.approx(session.run(None, {contract.input: patch})[0], abs=1e-4)

    def test_it_learns_an_instrument_and_says_before_and_after(self, trained: Path, stacks, tmp_path: Path):
        recipe = RECIPE.model_copy(update={"max_epochs": 3, "learning_rate": 1e-3})
        further = train_by_phases(recipe, stacks, tmp_path, silent, CPU, trained / "network.onnx")
        history = checkpoint(tmp_path)["place"]["history"]
        assert further.before is not None
        assert further.held_out.mean_abs_um < further.before.mean_abs_um
        # The best epoch of phase 2, or of phase 1 if none of phase 2 was better.
        best = [min(phase, key=lambda entry: entry["validation_loss"]) for phase in (history[:3], history[3:])]
        assert any(further.held_out.mean_abs_um == pytest.approx(entry["mean_abs_um"]) for entry in best)
        assert open_network(further.network)[1].patch_px == 128

    def test_where_nothing_is_learned_the_network_stays_as_it_was(self, trained: Path, stacks, tmp_path: Path):
        recipe = RECIPE.model_copy(update={"max_epochs": 1, "learning_rate": 100.0})
        further = train_by_phases(recipe, stacks, tmp_path, silent, CPU, trained / "network.onnx")
        assert further.held_out.mean_abs_um == pytest.approx(further.before.mean_abs_um)
        pair = pairs_of(stacks[:1], 2.0, 128)[0]
        patch = paper_input(*cut(pair, 128), 0.0)[None]
        told = [
            open_network(f)[0].run(None, {"difference": patch})[0] for f in (trained / "network.onnx", further.network)
        ]
        assert told[0] == pytest.approx(told[1], abs=1e-4)

    def test_a_network_of_another_shape_is_refused(self, trained: Path, stacks, tmp_path: Path):
        recipe = RECIPE.model_copy(update={"alpha": 0.5})
        with pytest.raises(SettingsError, match=r"alpha=0\.35.*the recipe wants .*alpha=0\.5"):
            train_by_phases(recipe, stacks, tmp_path, silent, CPU, trained / "network.onnx")

    def test_the_recipe_for_it_fits_the_shipped_network(self):
        recipe = read_recipe(Path(__file__).parents[2] / "runs" / "fine-tune.toml")
        assert read_network(shipped_network()).settings == phases._new_network(recipe).settings

    def test_a_network_on_bands_learns_an_instrument_too(self, stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        cuts: list[object] = []
        monkeypatch.setattr(phases, "cut", lambda pair, size: (cuts.append(pair), cut(pair, size))[1])
        recipe = RECIPE.model_copy(update={"input": "bands", "alpha": 1.0, "patch_px": 224, "learning_rate": 1e-4})
        begin = export_onnx(phases._new_network(recipe), tmp_path / "begin.onnx", {})
        further = train_by_phases(recipe, stacks, tmp_path, silent, CPU, begin)
        assert further.held_out.mean_abs_um < further.before.mean_abs_um
        session, contract = open_network(further.network)
        assert contract.input == "bands"
        assert [output.name for output in session.get_outputs()] == ["defocus_u", "doubt_u"]
        assert len(cuts) == len(set(cuts))  # bands are the same in every epoch


class TestGoingOn:
    @pytest.mark.slow
    def test_a_killed_training_arrives_at_the_same_network(self, trained: Path, public_root: Path, tmp_path: Path):
        recipe, out = tmp_path / "paper.toml", tmp_path / "out"
        recipe.write_text(TOML, encoding="utf-8")
        program = "from parfocal.cli import main; main()"
        command = [sys.executable, "-c", program, "train", str(recipe), "--stacks", str(public_root)]
        command += ["--out", str(out), "--device", "cpu", "--json"]
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())})
        while not (out / "checkpoint.pt").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "network.onnx").exists()
        stopped_at = len(checkpoint(out)["place"]["history"])
        train_by_phases(read_recipe(recipe), read_training_stacks(public_root), out, silent, CPU)
        assert stopped_at < 4
        expected, got = checkpoint(trained), checkpoint(out)
        assert [e["epoch"] for e in got["place"]["history"]] == [0, 1, 0, 1]
        for name, value in expected["place"]["best"].items():
            torch.testing.assert_close(got["place"]["best"][name], value, rtol=0, atol=0, msg=name)

    @pytest.mark.long
    def test_within_an_epoch_too(self, trained: Path, stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        class PulledPlugError(Exception):
            pass

        def pulled(what: str, done: int, total: int, note: str) -> None:
            if what == "phase 2":
                monkeypatch.setattr(phases, "_CHECKPOINT_EVERY_S", 0.0 if done < 3 else 120.0)
                if done == 3:
                    raise PulledPlugError

        with pytest.raises(PulledPlugError):
            train_by_phases(RECIPE, stacks, tmp_path, pulled, CPU)
        assert checkpoint(tmp_path)["place"]["batch"] == 2
        train_by_phases(RECIPE, stacks, tmp_path, silent, CPU)
        for name, value in checkpoint(trained)["place"]["best"].items():
            torch.testing.assert_close(checkpoint(tmp_path)["place"]["best"][name], value, rtol=0, atol=0, msg=name)

    def test_another_recipes_checkpoint_is_not_overwritten(self, trained: Path, stacks):
        before = (trained / "checkpoint.pt").read_bytes()
        with pytest.raises(FileError, match="was made by another recipe"):
            train_by_phases(RECIPE.model_copy(update={"seed": 2}), stacks, trained, silent, CPU)
        assert (trained / "checkpoint.pt").read_bytes() == before


class TestTogether:
    @pytest.mark.long
    def test_two_processes_have_the_losses_and_the_network_of_one(
        self, trained: Path, public_root: Path, tmp_path: Path
    ):
        """Statistics are frozen: gloo cannot normalise over the batch of two processes."""
        recipe = tmp_path / "paper.toml"
        recipe.write_text(TOML, encoding="utf-8")
        begin = ["--from", str(trained / "network.onnx"), "--stacks", str(public_root), "--device", "cpu", "--json"]
        told = {}
        for processes in (1, 2):
            out = tmp_path / str(processes)
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            command += ["-m", "parfocal", "train", str(recipe), "--out", str(out), *begin]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            told[processes] = checkpoint(out)["place"]
        one, two = (told[processes]["history"] for processes in (1, 2))
        for alone, together in zip(one, two, strict=True):
            assert together["validation_loss"] == pytest.approx(alone["validation_loss"], rel=1e-4)
            assert together["mean_abs_um"] == pytest.approx(alone["mean_abs_um"], rel=1e-4)
        for name, value in told[1]["best"].items():
            torch.testing.assert_close(told[2]["best"][name], value, rtol=1e-3, atol=1e-4, msg=name)

    @pytest.mark.long
    def test_a_team_that_was_stopped_within_an_epoch_arrives_at_the_same_network(
        self, public_root: Path, tmp_path: Path
    ):
        recipe, program = tmp_path / "paper.toml", tmp_path / "stopped.py"
        recipe.write_text(TOML, encoding="utf-8")
        program.write_text(STOPPED_IN_PHASE_2, encoding="utf-8")
        module = ["-m", "parfocal"]
        for out, what, status in (("whole", module, 0), ("stopped", [str(program)], 1), ("stopped", module, 0)):
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *what]
            command += ["train", str(recipe), "--out", str(tmp_path / out), "--stacks", str(public_root)]
            command += ["--device", "cpu", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            assert done.returncode == status, done.stderr
            if status:
                place = checkpoint(tmp_path / out)["place"]
                assert (place["phase"], place["epoch"], place["batch"]) == (2, 0, 2)
        whole, resumed = (checkpoint(tmp_path / out)["place"]["best"] for out in ("whole", "stopped"))
        for name, value in whole.items():
            torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)


STOPPED_IN_PHASE_2 = """
import os
from parfocal.cli import main
from parfocal.cli.terminal import Bars
from parfocal.training import phases

def stop(bars, what, done, total, note):
    if what == "phase 2" and done == 3:
        os._exit(1)

Bars.trained, phases._CHECKPOINT_EVERY_S = stop, 0.0
main()
"""


class TestRefusals:
    def refuse(self, *arguments: object) -> str:
        result = CliRunner().invoke(cli, ["train", *map(str, arguments)])
        assert isinstance(result.exception, InputError)
        return str(result.exception)

    def test_a_truncated_image_is_named(self, tmp_path: Path):
        root = write_public_set(tmp_path / "set", planes=5)
        broken = read_public(root, "train")[0].files[4]
        broken.write_bytes(broken.read_bytes()[:300])
        with pytest.raises(FileError, match=broken.name):
            train_by_phases(RECIPE, read_public(root, "train"), tmp_path / "out", silent, CPU)

    def test_stacks_of_one_slide_cannot_be_split(self, stacks, tmp_path: Path):
        with pytest.raises(SettingsError, match="at least 2 are needed"):
            train_by_phases(RECIPE, [s for s in stacks if s.slide == "s1"], tmp_path, silent, CPU)

    def test_stacks_without_such_pairs(self, stacks, tmp_path: Path):
        with pytest.raises(SettingsError, match=r"no two planes 2\.3 µm apart"):
            train_by_phases(RECIPE.model_copy(update={"delta_um": 2.3}), stacks, tmp_path, silent, CPU)

    def test_a_recipe_by_the_paper_wants_stacks_and_another_none(self, tmp_path: Path):
        recipe = tmp_path / "paper.toml"
        recipe.write_text(TOML, encoding="utf-8")
        assert "say where with --stacks" in self.refuse(recipe, "--out", tmp_path / "out")
        recipe.write_text("[[stages]]\nbatches = 1\n", encoding="utf-8")
        assert "--stacks and --from do not apply" in self.refuse(
            recipe, "--out", tmp_path / "out", "--stacks", tmp_path
        )

    def test_nothing_to_go_on_from(self, tmp_path: Path):
        recipe = tmp_path / "paper.toml"
        recipe.write_text(TOML, encoding="utf-8")
        assert "holds no checkpoint" in self.refuse(recipe, "--out", tmp_path / "out", "--resume")

    def test_a_device_that_is_not_there(self):
        assert choose_device("cpu") == CPU
        with pytest.raises(SettingsError, match="device 'abacus' cannot be used"):
            choose_device("abacus")

    def test_the_papers_own_recipe_is_read(self):
        recipe = read_recipe(Path(__file__).parents[2] / "runs" / "paper.toml")
        assert recipe == PaperRecipe(schedule="paper")
