"""MobileNetV2 with the paper's head, and the ONNX file that it becomes."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (the train extra)")
pytest.importorskip("onnx", reason="export needs onnx (the train extra)")
pytestmark = pytest.mark.train

from parfocal.errors import FileError  # noqa: E402
from parfocal.focus.difference import CHANNELS  # noqa: E402
from parfocal.focus.predictor import open_network  # noqa: E402
from parfocal.training.export import DELTA_U, RANGE_U, export_onnx  # noqa: E402
from parfocal.training.model import FocusNet, ModelSettings  # noqa: E402
from parfocal.training.warm_start import read_network  # noqa: E402


@pytest.mark.parametrize(("alpha", "parameters"), [(1.0, 2_286_593), (0.5, 750_401), (0.35, 458_849)])
def test_the_paper_sized_networks_have_their_number_of_parameters(alpha: float, parameters: int):
    net = FocusNet(ModelSettings(alpha, 224))
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def trained_a_little(patch_px: int = 64) -> FocusNet:
    """A network whose running means and head are not those of a new one."""
    torch.manual_seed(3)
    net = FocusNet(ModelSettings(0.35, patch_px))
    torch.nn.init.normal_(net.head.weight, std=0.05)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # a plain mean: three batches must do
    net.train()
    for _ in range(3):
        net(2 * torch.randn(4, 3, patch_px, patch_px) + 0.3)
    return net.eval()


def test_every_patch_gets_one_number():
    net = trained_a_little()
    assert net(torch.randn(5, 3, 64, 64)).shape == (5,)
    assert net(torch.randn(1, 3, 64, 64)).shape == (1,)


def test_the_exported_network_is_the_trained_one(tmp_path: Path):
    net = trained_a_little()
    patches = torch.randn(6, 3, 64, 64)
    with torch.no_grad():
        expected = net(patches).numpy()
    session, contract = open_network(export_onnx(net, tmp_path / "network.onnx", {"made": "by a test"}))
    result = session.run(None, {"difference": patches.numpy()})[0]
    assert expected.std() > 0.01, "a network that says one thing shows nothing"
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert (contract.patch_px, contract.delta_u, contract.range_u) == (64, DELTA_U, RANGE_U)
    assert not (tmp_path / "network.new").exists()


def test_another_patch_size_keeps_the_features_and_the_sum_of_the_dense_layer():
    net = trained_a_little()
    other = net.resized(128)
    assert other.settings == ModelSettings(0.35, 128)
    for name, value in net.features.state_dict().items():
        torch.testing.assert_close(other.features.state_dict()[name], value)
    old, new = (n.head.weight.view(1280, -1).sum(dim=1) for n in (net, other))
    assert torch.corrcoef(torch.stack([old, new]))[0, 1] > 0.8
    torch.testing.assert_close(other.head.bias, net.head.bias)


def test_a_tied_dense_layer_is_a_pooling_and_fits_any_patch_size():
    net = trained_a_little()
    net.tie()
    weight = net.head.weight.view(1280, -1)
    assert torch.equal(weight, weight[:, :1].expand_as(weight))
    patches = torch.randn(2, 3, 64, 64)
    tied = net(patches)
    net.tied = False
    torch.testing.assert_close(net(patches), tied, rtol=1e-4, atol=1e-5)
    larger = net.resized(128).head.weight.view(1280, -1)
    torch.testing.assert_close(larger, (weight[:, :1] / 4).expand_as(larger))


def test_resnet_50_has_its_number_of_parameters():
    """25,557,032 with the top of 1000 classes, which has 2048 × 1000 + 1000 of them."""
    net = FocusNet(ModelSettings(1.0, 224, "colour", "resnet-50"))
    assert sum(parameter.numel() for parameter in net.features.parameters()) == 25_557_032 - 2_049_000


@pytest.mark.parametrize("name", ["colour", "spectral", "difference-raw"])
def test_a_baseline_is_exported_with_the_name_of_its_input(name: str, tmp_path: Path):
    net = FocusNet(ModelSettings(0.25, 64, name, "resnet-50")).eval()
    net.tie()
    path = export_onnx(net, tmp_path / "network.onnx", {})
    session, contract = open_network(path)
    assert contract.input == name
    patches = np.random.default_rng(0).normal(size=(3, CHANNELS[name], 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(patches)).numpy()
    np.testing.assert_allclose(session.run(None, {name: patches})[0], expected, atol=1e-4)
    with pytest.raises(FileError, match="not MobileNetV2"):
        read_network(path)
