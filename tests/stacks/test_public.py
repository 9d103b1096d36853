"""The public data set's layout: labels in nm, pairs by value, groups by folder and name, split by slide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from public_set import DIFFERENT, SAME, TRAIN, write_public_set

from parfocal.cli import cli
from parfocal.errors import FileError, SettingsError
from parfocal.evaluation.sources import read_parts
from parfocal.stacks.public import parts_of, read_public, split_by_slide
from parfocal.stacks.recorded import read_plane


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_public_set(tmp_path_factory.mktemp("public"))


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "public"))


def test_each_patch_of_each_location_is_a_stack_though_file_names_repeat(written):
    stacks = read_public(written, "train")
    assert len(stacks) == 3 * 2 * 2
    assert stacks[0].name == "s1_l1/Seg1"
    assert {stack.slide for stack in stacks} == {"s1", "s2", "s3"}
    for stack in stacks:
        assert {file.parent.name for file in stack.files} == {stack.name.split("/")[0]}
        assert stack.plane(0).shape == (224, 224, 3)


def test_labels_are_nanometres_and_best_focus_is_zero_though_no_plane_is_there(written):
    (stack,) = read_public(written, "same")
    assert stack.z == tuple(np.round(np.arange(-3.35, 2.66, 0.5), 3))
    assert 0.0 not in stack.z
    assert stack.best_z == 0.0
    assert stack.defocus(0) == pytest.approx(-3.35)


def test_planes_are_in_order_of_their_labels_not_of_their_names(written):
    for stack in read_public(written, "train"):
        assert [float(file.stem.partition("defocus")[2]) / 1000 for file in stack.files] == list(stack.z)
        assert list(stack.z) == sorted(stack.z)


def test_pairs_are_two_micrometres_apart_by_value_where_a_plane_is_missing(root):
    (root / SAME / "s1_l1" / "defocus-2350.jpg").unlink()
    (stack,) = read_public(root, "same")
    pairs = list(stack.pairs(2.0))
    assert len(pairs) == 8  # of 9, since one of the two ends is gone
    for first, second in pairs:
        assert stack.z[second] - stack.z[first] == pytest.approx(2.0)


def test_test_frames_are_binned_two_by_two_and_say_so(written):
    (stack,) = read_public(written, "different")
    raw = read_plane(stack.files[0]).astype(float)
    binned = raw.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    assert stack.plane(0).shape == (224, 224, 3)
    assert np.abs(stack.plane(0) - binned).max() <= 0.5
    assert stack.optics.pixel_size_um == 0.345


def test_training_is_split_by_slide_and_the_same_way_again(written):
    stacks = read_public(written, "train")
    training, held_out = split_by_slide(stacks, 0.3, seed=1)
    assert not {stack.slide for stack in training} & {stack.slide for stack in held_out}
    assert len(training) + len(held_out) == len(stacks)
    assert len({stack.slide for stack in held_out}) == 1
    assert split_by_slide(stacks, 0.3, seed=1) == (training, held_out)
    with pytest.raises(SettingsError, match="stacks of 1 slide"):
        split_by_slide(held_out, 0.3, seed=1)
    with pytest.raises(SettingsError, match="share of 1"):
        split_by_slide(stacks, 1, seed=1)


def test_the_root_and_the_folder_in_it_are_both_known(written):
    assert parts_of(written) == parts_of(written / "incoherent_RGBchannels") == ("train", "same", "different")
    assert parts_of(written / TRAIN) == ()
    assert list(read_parts(written)) == ["same", "different"]


def test_evaluate_prints_table_1_with_one_row_more(written):
    done = CliRunner().invoke(cli, ["evaluate", str(written), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["kind"] == "public"
    assert [stack["pairs"] for stack in found["stacks"]] == [9, 9]
    assert set(found["parts"]) == {"same", "different"}
    assert len(found["table_1"]) == 5
    assert found["table_1"][-1]["same"][0] == pytest.approx(found["parts"]["same"]["mean_abs_error_um"])
    assert found["overall"]["mean_abs_error_um"] < 1.0


def test_a_wrong_layout_is_named(root, tmp_path):
    (root / SAME / "s1_l1").rename(root / SAME / "slide1")
    with pytest.raises(FileError, match="slide1: is not named"):
        read_public(root, "same")
    shutil.rmtree(root / DIFFERENT)
    with pytest.raises(FileError, match="diffProtocol: is missing"):
        read_public(root, "different")
    (root / DIFFERENT).mkdir()
    with pytest.raises(FileError, match="diffProtocol: holds no folder"):
        read_public(root, "different")
    (root / DIFFERENT / "s1_l1").mkdir()
    with pytest.raises(FileError, match="s1_l1: holds no image such as"):
        read_public(root, "different")


def test_an_unlabelled_plane_is_named_and_so_is_a_label_that_comes_twice(root):
    folder = root / TRAIN / "s2_l1"
    file = next(folder.iterdir())
    shutil.copy(file, folder / "Seg1_sharp.jpg")
    with pytest.raises(FileError, match=r"Seg1_sharp\.jpg: its name has no label"):
        read_public(root, "train")
    (folder / "Seg1_sharp.jpg").unlink()
    shutil.copy(file, file.with_suffix(".jpeg"))
    with pytest.raises(FileError, match=r"has the label .* nm too"):
        read_public(root, "train")


def test_a_truncated_jpeg_is_named_when_it_is_read(root):
    (stack,) = read_public(root, "same")
    whole = stack.files[3].read_bytes()
    stack.files[3].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"defocus-1850\.jpg: is cut off after"):
        stack.plane(3)
