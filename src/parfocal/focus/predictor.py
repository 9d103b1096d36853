"""From two frames to the defocus of the second, in µm, with a measure of how sure the network is (paper, 4.3.3)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from parfocal.errors import FileError, SettingsError
from parfocal.focus.bands import PATCH_PX as BANDS_PATCH_PX
from parfocal.focus.difference import PREPARATIONS, difference, input_shape, standardise
from parfocal.optics.objective import Objective

MAX_NETWORK_BYTES = 64 * 2**20
_SAME_SCALE = 0.02
_ENOUGH_PATCHES = 4
_RICHEST_PATCHES = 6
_DOUBT = "doubt_u"
"""Name of the second output of networks that say what |error| to expect, in units of u."""


@dataclass(frozen=True)
class PairContrast:
    """How much there is to see in a pair, in grey levels.

    Attributes:
        image_sd: largest standard deviation of a patch of I1, slow changes of the illumination taken out.
        difference_sd: largest standard deviation of a patch of the filtered difference.
    """

    image_sd: float
    difference_sd: float


@dataclass(frozen=True)
class FocusPrediction:
    """What the network says about a pair.

    Attributes:
        defocus_um: of the second image, the weighted mean over the patches, in µm. A network on differences has the
            paper's weights, `patch_sd`; one that sees the mean too is weighted by detail, and so is its spread.
        spread_um: standard deviation of the patch predictions in µm; nan where there is one patch only.
        patch_defocus_um: each patch's prediction in µm.
        patch_sd: standard deviation of each patch of I1 in grey levels; the paper's weights (section 4.3.3).
        image_sd: see `PairContrast`.
        difference_sd: see `PairContrast`.
        patch_detail: what each patch can know: by a network that says how sure it is, 1 over the square of the error it
            expects in u; otherwise variance in grey levels² in the band that defocus changes.
        doubt_um: the mean |error| that a network expects of its patches, weighted as they are, in µm; nan where it does
            not say.
    """

    defocus_um: float
    spread_um: float
    patch_defocus_um: tuple[float, ...]
    patch_sd: tuple[float, ...]
    image_sd: float
    difference_sd: float
    patch_detail: tuple[float, ...] = ()
    doubt_um: float = math.nan


class Predictor(Protocol):
    """Anything that can tell defocus from a pair of frames; plug in your own."""

    def measure(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> PairContrast:
        """Contrast of a pair of frames uint8 (Y, X, 3), without running the network."""

    def predict(self, first: NDArray[np.uint8], second: NDArray[np.uint8], delta_um: float) -> FocusPrediction:
        """Defocus of the second of two frames uint8 (Y, X, 3), taken `delta_um` apart, the second higher."""


@dataclass(frozen=True)
class NetworkContract:
    """What a network file promises, from its metadata.

    Attributes:
        patch_px: side of its input in canonical pixels.
        delta_u: smallest and largest distance of a pair that it knows, in units of u.
        range_u: largest |defocus| that it was trained on, in units of u.
        input: what it is shown: a name in `focus.difference.PREPARATIONS`.
    """

    patch_px: int
    delta_u: tuple[float, float]
    range_u: float
    input: str = "difference"


class FocusPredictor:
    """A network on ONNX Runtime, for one objective and camera.

    Args:
        network: ONNX file with Parfocal's contract in its metadata.
        objective: lens, which fixes the canonical scale; None where it is unknown: then frames are taken to be in the
            network's scale already and `unit_um` says what u is.
        pixel_size_um: of the frames, in the specimen plane.
        empty_sd: patches of I1 below this standard deviation (grey levels) have no vote.
        unit_um: µm for one u where there is no objective.
        patch_grid: patches along each side of the central square that is looked at; the paper's is 2. None: as many as
            fit side by side into the whole frame, or overlapping ones where that is less than two.

    Raises:
        FileError: if the file is missing, too large, not ONNX or has no contract.
    """

    def __init__(
        self,
        network: Path,
        objective: Objective | None,
        pixel_size_um: float,
        empty_sd: float = 0.0,
        unit_um: float = 1.0,
        patch_grid: int | None = 2,
    ) -> None:
        if patch_grid is not None and patch_grid < 1:
            raise SettingsError(f"a grid of {patch_grid} patches along each side has none")
        self.network = network
        self._session, self.contract = open_network(network)
        said = [output.name for output in self._session.get_outputs()]
        self._outputs = [said[0], *(name for name in said[1:] if name == _DOUBT)]
        self._unit_um = objective.canonical_z_um if objective else unit_um
        self._scale = pixel_size_um / objective.canonical_pixel_um if objective else 1.0
        self._empty_sd = empty_sd
        self._patch_grid = patch_grid

    @property
    def vote(self) -> str:
        """What the patches' predictions are weighted by, a name in `evaluation.votes`."""
        return "detail-weighted" if self.contract.input in ("contrast", "bands") else "sd-weighted"

    def measure(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> PairContrast:
        """Contrast of a pair of frames uint8 (Y, X, 3), without running the network."""
        pairs = self._patches(first, second)
        differences = [difference(a, b) for a, b in pairs]
        return PairContrast(max(flattened_sd(a) for a, _ in pairs), max(_sd(image) for image in differences))

    def predict(self, first: NDArray[np.uint8], second: NDArray[np.uint8], delta_um: float) -> FocusPrediction:
        """Defocus of the second of two frames (paper, 2.2 and 4.3.3).

        Args:
            first: I1, uint8 (Y, X, 3).
            second: I2, of the same shape, taken `delta_um` above I1.
            delta_um: distance of the two in µm.

        Raises:
            SettingsError: if Δ lies outside the network's range, or the frame holds no patch.
        """
        self._check_delta(delta_um)
        pairs = self._patches(first, second)
        differences = [difference(a, b) for a, b in pairs]
        inputs = self._inputs(pairs, differences, delta_um / self._unit_um)
        predicted_u, *doubt_u = self._session.run(self._outputs, {self.contract.input: inputs})
        predicted_um = predicted_u.astype(np.float64) * self._unit_um
        deviations = np.array([_sd(a) for a, _ in pairs])
        details = doubt_u[0].astype(np.float64) ** -2 if doubt_u else np.array([_detail(a, b) for a, b in pairs])
        by_detail = self.vote == "detail-weighted"
        weights = details if by_detail else deviations
        defocus_um = _weighted_mean(predicted_um, weights)
        spread_weights = weights if by_detail else np.ones(len(pairs))
        variance_um2 = _weighted_mean(
            (predicted_um - _weighted_mean(predicted_um, spread_weights)) ** 2, spread_weights
        )
        return FocusPrediction(
            defocus_um=defocus_um,
            spread_um=math.sqrt(variance_um2) if len(pairs) > 1 else math.nan,
            patch_defocus_um=tuple(predicted_um.tolist()),
            patch_sd=tuple(deviations.tolist()),
            image_sd=max(flattened_sd(a) for a, _ in pairs),
            difference_sd=max(_sd(image) for image in differences),
            patch_detail=tuple(details.tolist()),
            doubt_um=_weighted_mean(doubt_u[0], details) * self._unit_um if doubt_u else math.nan,
        )

    def _inputs(
        self,
        pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
        differences: list[NDArray[np.int16]],
        delta_u: float,
    ) -> NDArray[np.float32]:
        if self.contract.input == "difference":  # filtered already
            return np.stack([standardise(image) for image in differences])
        prepare = PREPARATIONS[self.contract.input]
        return np.stack([prepare(a, b, delta_u) for a, b in pairs])

    def _check_delta(self, delta_um: float) -> None:
        low, high = (u * self._unit_um for u in self.contract.delta_u)
        if not 0.9 * low <= delta_um <= 1.1 * high:
            raise SettingsError(f"Δ of {delta_um:.2f} µm is outside the network's range, {low:.2f} to {high:.2f} µm")

    def _patches(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8]
    ) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """The central patches that show something; where few do, the richest anywhere in the frame."""
        size = self.contract.patch_px
        if self._patch_grid is None:
            pairs = _cut(self._rescale(first), self._rescale(second), size, overlapping=False)
            return [pair for pair in pairs if flattened_sd(pair[0]) >= self._empty_sd] or pairs
        side = self._patch_grid * size
        a, b = self._centre(first, side), self._centre(second, side)
        pairs = _cut(a, b, size)
        told = [pair for pair in pairs if flattened_sd(pair[0]) >= self._empty_sd]
        if len(told) >= min(_ENOUGH_PATCHES, len(pairs)):
            return told
        a, b = self._rescale(first), self._rescale(second)
        everywhere = _cut(a, b, size)
        richness = np.array([flattened_sd(pair[0]) for pair in everywhere])
        richest = np.sort(np.argsort(-richness, kind="stable")[:_RICHEST_PATCHES])
        return [everywhere[index] for index in richest if richness[index] >= self._empty_sd] or pairs

    def _centre(self, frame: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
        """The central square of `side_px` canonical pixels, or as much of it as there is."""
        wanted = [min(n, round(side_px / self._scale)) for n in frame.shape[:2]]
        top, left = ((n - w) // 2 for n, w in zip(frame.shape[:2], wanted, strict=True))
        return self._rescale(frame[top : top + wanted[0], left : left + wanted[1]])

    def _rescale(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame at the canonical scale; left alone where it is within 2 % of it."""
        if abs(self._scale - 1) < _SAME_SCALE:
            return np.ascontiguousarray(frame)
        rows, columns = (round(n * self._scale) for n in frame.shape[:2])
        method = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(frame, (columns, rows), interpolation=method), dtype=np.uint8)


def open_network(path: Path) -> tuple[onnxruntime.InferenceSession, NetworkContract]:
    """Load a network file and check its contract.

    Raises:
        FileError: if the file is missing, larger than 64 MiB, not ONNX, or promises something else.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_NETWORK_BYTES else b""
    except OSError as error:
        raise FileError(f"network {path} cannot be read: {error.strerror}") from error
    if size > MAX_NETWORK_BYTES:
        raise FileError(f"network {path} has {size / 2**20:.0f} MiB, more than {MAX_NETWORK_BYTES / 2**20:.0f} MiB")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as error:
        raise FileError(f"network {path} is not a valid ONNX file: {str(error).splitlines()[0]}") from error
    return session, _contract(path, session)


_ORT = onnxruntime.capi.onnxruntime_pybind11_state
_RUNTIME_ERRORS = (
    _ORT.Fail, _ORT.InvalidArgument, _ORT.InvalidGraph, _ORT.InvalidProtobuf, _ORT.NoSuchFile, _ORT.NotImplemented,
    _ORT.RuntimeException,
)  # fmt: skip


def _contract(path: Path, session: onnxruntime.InferenceSession) -> NetworkContract:
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        given, answered = session.get_inputs()[0], session.get_outputs()[0].shape
        name, given_shape = given.name, given.shape  # a name that is no text is found out when it is asked for
        promise = json.loads(metadata["parfocal"])
        contract = NetworkContract(
            int(promise["patch_px"]),
            (float(promise["delta_u"][0]), float(promise["delta_u"][1])),
            float(promise["range_u"]),
            str(promise.get("input", "difference")),
        )
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise FileError(f"network {path} does not carry Parfocal's contract in its metadata ({error})") from error
    if contract.input not in PREPARATIONS:
        raise FileError(f"network {path} wants {contract.input!r}, not one of {', '.join(PREPARATIONS)}")
    if contract.input == "bands" and contract.patch_px != BANDS_PATCH_PX:
        raise FileError(f"network {path} wants bands of {contract.patch_px} px, they are of {BANDS_PATCH_PX} px")
    if len(answered) != 1:
        raise FileError(f"network {path} answers {answered}, not one number for each patch")
    shape = input_shape(contract.input, contract.patch_px)
    if name != contract.input or given_shape[1:] != list(shape):
        raise FileError(
            f"network {path} takes {name} {given_shape}, its contract says {contract.input} of "
            f"{' × '.join(map(str, shape))}"
        )
    return contract


def _cut(
    first: NDArray[np.uint8], second: NDArray[np.uint8], size: int, overlapping: bool = True
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Patches of both images, spread evenly. Where the image is not a multiple of `size` they overlap and cover it all;
    with `overlapping` False they do so only in an image of less than two."""
    rows, columns = first.shape[:2]
    if min(rows, columns) < size:
        raise SettingsError(f"a frame of {columns} × {rows} canonical pixels holds no patch of {size} × {size}")
    counts = (-(-n // size) if overlapping or n < 2 * size else n // size for n in (rows, columns))
    tops, lefts = (
        np.unique(np.linspace(0, n - size, count).round().astype(int))
        for n, count in zip((rows, columns), counts, strict=True)
    )
    places = [(slice(top, top + size), slice(left, left + size)) for top in tops for left in lefts]
    return [(np.ascontiguousarray(first[place]), np.ascontiguousarray(second[place])) for place in places]


def _sd(patch: NDArray[np.uint8] | NDArray[np.int16]) -> float:
    """Standard deviation of the pixel values in grey levels, each channel about its own mean."""
    return float(np.sqrt(np.mean(cv2.meanStdDev(patch)[1] ** 2)))


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(np.average(values, weights=np.maximum(weights, 1e-6)))


def _detail(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Variance in grey levels² of the mean of two patches in the band that defocus changes: what a patch can know.

    A patch's standard deviation also counts stain that is the same at any z. Where a slide has bare glass and tissue in
    one field, that gives a say to patches that see nothing.
    """
    mean = (first.astype(np.float32) + second) / 2
    band = cv2.GaussianBlur(mean, (0, 0), _FINE_PX) - cv2.GaussianBlur(mean, (0, 0), _COARSE_PX)
    return float(np.mean(band * band))


_FINE_PX, _COARSE_PX = 1.0, 4.0
_COARSE = 14
_axis = (np.arange(_COARSE) + 0.5) / _COARSE - 0.5
_x, _y = (grid.ravel() for grid in np.meshgrid(_axis, _axis))
_ILLUMINATION = np.linalg.qr(np.stack([np.ones_like(_x), _x, _y, _x * _x, _y * _y, _x * _y], axis=1))[0]


def flattened_sd(patch: NDArray[np.uint8]) -> float:
    """Standard deviation of a patch uint8 (Y, X, 3) in grey levels, less a quadratic fall-off of the light."""
    coarse = cv2.resize(patch.astype(np.float32), (_COARSE, _COARSE), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    explained = (_ILLUMINATION[:, 1:].T @ (coarse - coarse.mean(axis=0))) ** 2
    variance = cv2.meanStdDev(patch)[1].ravel() ** 2 - explained.sum(axis=0) / _COARSE**2
    return float(np.sqrt(np.mean(np.maximum(variance, 0.0))))
