"""A network file back as a network that can be trained further."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from parfocal.errors import FileError
from parfocal.focus.predictor import open_network
from parfocal.training.band_net import BandNet
from parfocal.training.model import FocusNet, ModelSettings


def read_network(path: Path) -> FocusNet | BandNet:
    """The network in an ONNX file of `export_onnx`, in units of u.

    The batch normalisation of a convolutional network was folded into the convolutions: here it adds their biases, does
    nothing else, and has to stay so (`freeze_statistics`) while training.

    Raises:
        FileError: if the file is no network of Parfocal's own architecture.
    """
    session, contract = open_network(path)
    alpha = json.loads(session.get_modelmeta().custom_metadata_map["parfocal"]).get("alpha")
    if alpha is None:
        raise FileError(f"network {path} does not say its width (alpha): it cannot be trained further")
    graph = onnx.load(path).graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    if contract.input == "bands":
        return _band_net(path, ModelSettings(float(alpha), contract.patch_px, "bands", "bands"), values)
    told, dense = (
        [
            tuple(values[name] for name in node.input[1:] if name in values)
            for node in graph.node
            if node.op_type == kind
        ]
        for kind in ("Conv", "Gemm")
    )
    net = FocusNet(ModelSettings(float(alpha), contract.patch_px, contract.input))
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    normalisations = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    weights = [*(convolution.weight for convolution in convolutions), net.head.weight]
    wanted = [[weight.shape, weight.shape[:1]] for weight in weights]
    if [[value.shape for value in values] for values in told + dense] != wanted:
        raise FileError(f"network {path} is not MobileNetV2 of width {alpha:g} with one dense unit")
    with torch.no_grad():
        for convolution, normalisation, (weight, bias) in zip(convolutions, normalisations, told, strict=True):
            convolution.weight.copy_(weight)
            normalisation.bias.copy_(bias)
            normalisation.running_var.fill_(1 - normalisation.eps)  # type: ignore[union-attr]
        weight, bias = dense[0]
        net.head.weight.copy_(weight)
        net.head.bias.copy_(bias)
    return net.eval()


def _band_net(path: Path, settings: ModelSettings, values: dict[str, Tensor]) -> BandNet:
    net = BandNet(settings)
    try:
        net.load_state_dict({name.removeprefix("net."): value for name, value in values.items()})
    except RuntimeError as error:
        raise FileError(f"network {path} is not a band network of width {settings.alpha:g}") from error
    return net.eval()


def freeze_statistics(net: nn.Module) -> None:
    """Let batch normalisation use what it knows and learn no new mean or deviation; after every `net.train()`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
