"""The predictor around a network that the test builds: it says +1 u where a patch's difference is higher on the left
half, −1 u where it is higher on the right half, whatever the height."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from parfocal.errors import FileError, SettingsError
from parfocal.focus import predictor as predictor_module
from parfocal.focus.predictor import FocusPredictor, flattened_sd, open_network
from parfocal.optics.objective import Objective

onnx = pytest.importorskip("onnx", reason="building a network for the test needs onnx (the train extra)")

pytestmark = pytest.mark.train

PATCH = 32
CONTRACT = {"patch_px": PATCH, "delta_u": [2.2, 2.9], "range_u": 20.0}
DRY_20X, DRY_40X = Objective(20, 0.75), Objective(40, 0.65)
PIXEL_20X_UM, PIXEL_40X_UM = 0.345, 0.1725
DELTA_UM = 2.0
UNIT_UM = DRY_20X.canonical_z_um
LEFT, RIGHT = 1, -1


def write_network(
    path: Path,
    metadata: dict[str, str],
    patch_px: int = PATCH,
    input_name: str = "difference",
    second_output: str | None = None,
) -> Path:
    """A second output says |defocus − 3|: 2 u where the first says 1, 4 u where it says −1."""
    pattern = np.zeros((3, patch_px, patch_px), np.float32)
    pattern[1, :, : patch_px // 2], pattern[1, :, patch_px // 2 :] = 1, -1
    weights = onnx.numpy_helper.from_array(pattern.reshape(-1, 1) / patch_px**2, "weights")
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    three = onnx.numpy_helper.from_array(np.array(3, np.float32), "three")
    nodes, outputs = [], ["defocus_u"]
    if second_output:
        outputs.append(second_output)
        nodes = [
            onnx.helper.make_node("Sub", ["defocus_u", "three"], ["less"]),
            onnx.helper.make_node("Abs", ["less"], [second_output]),
        ]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Flatten", [input_name], ["flat"]),
            onnx.helper.make_node("MatMul", ["flat", "weights"], ["column"]),
            onnx.helper.make_node("Squeeze", ["column", "axis"], ["defocus_u"]),
            *nodes,
        ],
        "left-or-right",
        [onnx.helper.make_tensor_value_info(input_name, onnx.TensorProto.FLOAT, ["patches", 3, patch_px, patch_px])],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["patches"]) for name in outputs],
        [weights, axis, three],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "known.onnx", {"parfocal": json.dumps(CONTRACT)})


def striped(amplitudes: list[list[int]]) -> np.ndarray:
    """I1: patches with vertical stripes of ± these grey levels; no median can change them."""
    stripes = np.where(np.arange(PATCH) // 4 % 2, 1, -1)
    rows = [np.concatenate([np.tile(a * stripes, (PATCH, 1)) for a in row], axis=1) for row in amplitudes]
    return np.repeat((100 + np.concatenate(rows))[..., None], 3, axis=2).astype(np.uint8)


def stepped(first: np.ndarray, sides: list[list[int]], height: int = 10) -> np.ndarray:
    """I2: I1 with each patch brighter on its left or its right half."""
    half = np.where(np.arange(PATCH) < PATCH // 2, height, -height)
    rows = [np.concatenate([np.tile(side * half, (PATCH, 1)) for side in row], axis=1) for row in sides]
    return (first.astype(int) + np.concatenate(rows)[..., None]).astype(np.uint8)


FIRST = striped([[4, 8], [16, 30]])
SECOND = stepped(FIRST, [[LEFT, LEFT], [LEFT, RIGHT]])


def at_20x(network: Path, **settings) -> FocusPredictor:
    return FocusPredictor(network, DRY_20X, PIXEL_20X_UM, **settings)


def test_the_field_is_the_mean_of_its_patches_weighted_by_the_deviation_of_the_first_image(network: Path):
    prediction = at_20x(network).predict(FIRST, SECOND, DELTA_UM)
    assert prediction.patch_defocus_um == pytest.approx(np.array([1, 1, 1, -1]) * UNIT_UM, abs=1e-4)
    assert prediction.patch_sd == pytest.approx([4, 8, 16, 30], rel=1e-5)
    assert prediction.defocus_um == pytest.approx((4 + 8 + 16 - 30) / (4 + 8 + 16 + 30) * UNIT_UM, abs=1e-4)


def test_the_spread_is_the_standard_deviation_of_the_patches(network: Path):
    assert at_20x(network).predict(FIRST, SECOND, DELTA_UM).spread_um == pytest.approx(
        np.std([1, 1, 1, -1]) * UNIT_UM, abs=1e-4
    )


def test_contrast_is_measured_with_and_without_the_network(network: Path):
    contrast = at_20x(network).measure(FIRST, SECOND)
    prediction = at_20x(network).predict(FIRST, SECOND, DELTA_UM)
    assert contrast.difference_sd == prediction.difference_sd == pytest.approx(10, rel=1e-5)
    assert contrast.image_sd == prediction.image_sd
    assert contrast.image_sd == pytest.approx(30, rel=0.05)
    assert at_20x(network).measure(FIRST, FIRST).difference_sd == 0


def test_only_the_central_patches_are_looked_at(network: Path):
    framed = [np.pad(image, ((24, 24), (40, 40), (0, 0)), mode="reflect") for image in (FIRST, SECOND)]
    prediction = at_20x(network).predict(framed[0], framed[1], DELTA_UM)
    assert prediction == at_20x(network).predict(FIRST, SECOND, DELTA_UM)


def test_the_grid_of_patches_can_be_another(network: Path):
    amplitudes = [[5] * 3] * 3
    first = striped(amplitudes)
    second = stepped(first, [[LEFT, RIGHT, LEFT]] * 3)
    assert len(at_20x(network, patch_grid=3).predict(first, second, DELTA_UM).patch_sd) == 9
    assert at_20x(network, patch_grid=1).predict(first, second, DELTA_UM).patch_defocus_um == pytest.approx(
        [-UNIT_UM], abs=1e-4
    )
    with pytest.raises(SettingsError, match="grid of 0"):
        at_20x(network, patch_grid=0)


@pytest.mark.parametrize(
    ("rows", "columns", "patches"), [(32, 32, 1), (33, 32, 2), (63, 40, 4), (64, 64, 4), (95, 64, 4), (100, 129, 12)]
)
def test_a_whole_frame_is_cut_into_what_fits_and_overlaps_only_below_two(network, rows, columns, patches):
    first = striped([[5] * 5] * 4)[:rows, :columns]
    prediction = at_20x(network, patch_grid=None).predict(first, first, DELTA_UM)
    assert len(prediction.patch_sd) == patches


def test_a_whole_frame_has_a_vote_where_the_centre_has_none(network):
    first = striped([[30, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4])
    second = stepped(first, [[RIGHT, LEFT, LEFT, LEFT]] + [[LEFT] * 4] * 3)
    prediction = at_20x(network, patch_grid=None).predict(first, second, DELTA_UM)
    assert len(prediction.patch_sd) == 16
    assert prediction.defocus_um == pytest.approx(-UNIT_UM, abs=1e-4)


def test_the_detail_of_a_patch_is_what_lies_between_one_and_four_pixels(network):
    detail = at_20x(network).predict(FIRST, FIRST, DELTA_UM).patch_detail
    assert len(detail) == 4
    assert np.array(detail) / detail[0] == pytest.approx(np.array([4, 8, 16, 30]) ** 2 / 16, rel=0.1)


def test_at_40x_frames_are_brought_to_the_canonical_scale_and_defocus_to_its_unit(network: Path):
    scale = DRY_40X.canonical_pixel_um / PIXEL_40X_UM
    side = round(2 * PATCH * scale)
    first, second = (cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in (FIRST, SECOND))
    prediction = FocusPredictor(network, DRY_40X, PIXEL_40X_UM).predict(first, second, 3.0)
    expected_um = np.array([1, 1, 1, -1]) * DRY_40X.canonical_z_um
    assert prediction.patch_defocus_um == pytest.approx(expected_um, rel=0.15)
    assert len(prediction.patch_sd) == 4


def test_without_an_objective_the_unit_is_given_and_the_frame_left_alone(network: Path):
    prediction = FocusPredictor(network, None, 99.0, unit_um=2.0).predict(FIRST, SECOND, 5.0)
    assert prediction.patch_defocus_um == pytest.approx([2, 2, 2, -2], abs=1e-4)


@pytest.mark.parametrize(("rows", "columns", "patches"), [(50, 40, 4), (32, 60, 2), (33, 32, 2), (32, 32, 1)])
def test_patches_of_small_frames_overlap_down_to_one(network: Path, rows: int, columns: int, patches: int):
    prediction = at_20x(network).predict(FIRST[:rows, :columns], SECOND[:rows, :columns], DELTA_UM)
    assert len(prediction.patch_defocus_um) == len(prediction.patch_sd) == patches
    assert math.isnan(prediction.spread_um) == (patches == 1)


@pytest.mark.parametrize(("rows", "columns"), [(31, 64), (64, 31), (10, 10)])
def test_a_frame_smaller_than_a_patch_is_refused(network: Path, rows: int, columns: int):
    with pytest.raises(SettingsError, match=rf"{columns} × {rows} canonical pixels holds no patch of 32 × 32"):
        at_20x(network).predict(FIRST[:rows, :columns], SECOND[:rows, :columns], DELTA_UM)


def test_empty_patches_have_no_vote(network: Path):
    first = striped([[0, 8], [0, 30]])
    second = stepped(first, [[RIGHT, LEFT], [RIGHT, LEFT]])
    prediction = at_20x(network, empty_sd=2.0).predict(first, second, DELTA_UM)
    assert prediction.patch_sd == pytest.approx([8, 30], rel=1e-5)
    assert prediction.defocus_um == pytest.approx(UNIT_UM, abs=1e-4)


@pytest.mark.parametrize("centre", [0, 6], ids=["empty", "nearly empty"])
def test_where_the_centre_shows_little_the_richest_six_patches_of_the_frame_are_asked(network: Path, centre: int):
    first = striped([[20, 3, 12, 9], [7, centre, 0, 0], [8, 0, 0, 0], [0, 4, 0, 15]])
    second = stepped(first, [[LEFT] * 4, [RIGHT] * 4, [RIGHT] * 4, [RIGHT] * 4])
    prediction = at_20x(network, empty_sd=2.0).predict(first, second, DELTA_UM)
    assert sorted(prediction.patch_sd) == pytest.approx([7, 8, 9, 12, 15, 20], rel=1e-5)
    assert sorted(prediction.patch_defocus_um) == pytest.approx([*[-UNIT_UM] * 3, *[UNIT_UM] * 3], abs=1e-4)


def test_an_empty_field_still_says_how_empty_it_is(network: Path):
    flat = striped([[0] * 4] * 4)
    prediction = at_20x(network, empty_sd=2.0).predict(flat, flat, DELTA_UM)
    assert prediction.image_sd == prediction.difference_sd == 0
    assert prediction.defocus_um == 0


def test_the_fall_off_of_the_light_is_no_contrast():
    x, y = np.meshgrid(np.linspace(-1, 1, 224), np.linspace(-1, 1, 224))
    lamp = np.repeat((200 - 6 * x - 5 * (x * x + y * y))[..., None], 3, axis=2)
    assert lamp.std() > 3
    assert flattened_sd(np.rint(lamp).astype(np.uint8)) < 0.7
    noise = np.random.default_rng(0).normal(0, 8, lamp.shape)
    assert flattened_sd(np.rint(lamp + noise).clip(0, 255).astype(np.uint8)) == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("delta_um", [0.0, 1.0, 3.0, -2.0])
def test_a_delta_that_the_network_does_not_know_is_refused_with_its_range(network: Path, delta_um: float):
    with pytest.raises(SettingsError, match=rf"Δ of {delta_um:.2f} µm is outside the network's range, 1\.79 to 2\.36"):
        at_20x(network).predict(FIRST, SECOND, delta_um)


def test_the_contract_is_read_from_the_file(network: Path):
    contract = open_network(network)[1]
    assert (contract.patch_px, contract.delta_u, contract.range_u) == (PATCH, (2.2, 2.9), 20.0)


def test_a_missing_network_is_named(tmp_path: Path):
    with pytest.raises(FileError, match=r"gone\.onnx cannot be read"):
        open_network(tmp_path / "gone.onnx")
    with pytest.raises(FileError, match="cannot be read"):
        open_network(tmp_path)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "garbled"])
def test_a_corrupt_network_is_refused_in_one_line(network: Path, tmp_path: Path, kind: str):
    whole = network.read_bytes()
    content = {"empty": b"", "text": b"hello", "truncated": whole[:400], "garbled": whole[:50] + b"\xff" * len(whole)}
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(content[kind])
    with pytest.raises(FileError, match=r"corrupt\.onnx") as caught:
        open_network(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"parfocal": "{"},
        {"parfocal": "[]"},
        {"parfocal": "[" * 100_000},
        {"parfocal": json.dumps({"patch_px": PATCH})},
        {"parfocal": json.dumps({**CONTRACT, "delta_u": [2.0]})},
        {"parfocal": json.dumps({**CONTRACT, "range_u": "far"})},
    ],
)
def test_a_network_without_the_contract_is_refused(tmp_path: Path, metadata: dict[str, str]):
    path = write_network(tmp_path / "other.onnx", metadata)
    with pytest.raises(FileError, match=r"other\.onnx does not carry Parfocal's contract"):
        open_network(path)


def test_a_network_whose_names_are_no_text_is_refused(tmp_path: Path):
    path = write_network(tmp_path / "other.onnx", {"parfocal": json.dumps(CONTRACT)})
    path.write_bytes(path.read_bytes().replace(b"difference", b"diff\xd6rence"))
    with pytest.raises(FileError, match=r"other\.onnx"):
        open_network(path)


def test_a_contract_that_does_not_fit_its_network_is_refused(tmp_path: Path):
    path = write_network(tmp_path / "wide.onnx", {"parfocal": json.dumps(CONTRACT)}, patch_px=64)
    with pytest.raises(FileError, match="its contract says difference of 3 × 32 × 32"):
        open_network(path)
    path = write_network(tmp_path / "image.onnx", {"parfocal": json.dumps(CONTRACT)}, input_name="image")
    with pytest.raises(FileError, match=r"image\.onnx"):
        open_network(path)


def test_a_file_above_64_mib_is_refused_unread(tmp_path: Path):
    assert predictor_module.MAX_NETWORK_BYTES == 64 * 2**20
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(FileError, match="has 65 MiB, more than 64 MiB"):
        open_network(path)


class TestANetworkThatSaysItsDoubt:
    def test_patches_vote_by_the_error_that_it_expects(self, tmp_path: Path):
        contract = {"parfocal": json.dumps(CONTRACT)}
        path = write_network(tmp_path / "network.onnx", contract, second_output="doubt_u")
        prediction = at_20x(path).predict(FIRST, SECOND, DELTA_UM)
        assert prediction.patch_detail == pytest.approx([1 / 4, 1 / 4, 1 / 4, 1 / 16], rel=1e-4)
        assert prediction.doubt_um == pytest.approx((2 * 3 / 4 + 4 / 16) / (3 / 4 + 1 / 16) * UNIT_UM, rel=1e-4)

    def test_another_second_output_is_not_taken_for_doubt(self, tmp_path: Path):
        contract = {"parfocal": json.dumps(CONTRACT)}
        path = write_network(tmp_path / "network.onnx", contract, second_output="features")
        assert math.isnan(at_20x(path).predict(FIRST, SECOND, DELTA_UM).doubt_um)

    def test_a_network_that_answers_more_than_one_number_a_patch_is_refused(self, tmp_path: Path):
        path = write_network(tmp_path / "network.onnx", {"parfocal": json.dumps(CONTRACT)})
        model = onnx.load(path)
        model.graph.output[0].CopyFrom(
            onnx.helper.make_tensor_value_info("column", onnx.TensorProto.FLOAT, ["patches", 1])
        )
        onnx.save(model, path)
        with pytest.raises(FileError, match="not one number for each patch"):
            open_network(path)
