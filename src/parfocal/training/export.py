"""A trained network as one ONNX file that carries its contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import torch

from parfocal import __version__
from parfocal.focus.difference import input_shape
from parfocal.training.band_net import BandNet, WithDoubt
from parfocal.training.model import FocusNet
from parfocal.training.synthesis import DELTA_U

RANGE_U = 20.0


def export_onnx(
    net: FocusNet | BandNet,
    path: Path,
    provenance: dict[str, Any],
    *,
    delta_u: tuple[float, float] = DELTA_U,
    range_u: float = RANGE_U,
) -> Path:
    """Write the network.

    Args:
        net: in any mode; it is exported for inference.
        path: of the ONNX file.
        provenance: JSON-serialisable record of how the network was made.
        delta_u: smallest and largest distance of a pair that it was trained on, in units of u.
        range_u: largest |defocus| that it was trained on, in units of u.

    The file's metadata hold the contract that the predictor checks: patch size, scale, range of Δ and of defocus.
    """
    net = net.eval().cpu()
    size, input_name = net.settings.patch_px, net.settings.input
    example = torch.zeros(1, *input_shape(input_name, size))
    outputs = ["defocus_u", "doubt_u"] if isinstance(net, BandNet) else ["defocus_u"]
    aside = path.with_suffix(".new")
    torch.onnx.export(
        WithDoubt(net).eval() if isinstance(net, BandNet) else net,
        (example,),
        aside,
        input_names=[input_name],
        output_names=outputs,
        dynamic_axes={name: {0: "patches"} for name in (input_name, *outputs)},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(aside)
    contract = {
        "parfocal_version": __version__,
        "patch_px": size,
        "pixel": "canonical",
        "input": input_name,
        "defocus_unit": "u",
        "delta_u": list(delta_u),
        "range_u": range_u,
        "architecture": net.settings.architecture,
        "alpha": net.settings.alpha,
        "provenance": provenance,
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = "parfocal", json.dumps(contract)
    onnx.save(model, aside)
    aside.replace(path)
    return path
