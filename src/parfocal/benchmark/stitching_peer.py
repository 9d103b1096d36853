"""One peer on one fields folder, run by the peer's own interpreter: nothing of Parfocal is imported here.

    python stitching_peer.py {ashlar|multiview-stitcher} FOLDER OUT

Decodes the fields, registers them, and writes a pyramidal OME-TIFF, each by the peer's own means as far as it has any.
Prints seconds (imports not counted), positions in px in the order of the records, and the shifts of the seams where the
peer tells them, as one JSON object.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
import time
from functools import lru_cache
from pathlib import Path


def read_fields(folder):
    """Header and records, each record's last attempt."""
    header = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    lines = (folder / "fields.jsonl").read_text(encoding="utf-8").splitlines()
    latest = {}
    for line in lines:
        record = json.loads(line)
        latest[record["index"]] = record
    return header, list(latest.values())


def ashlar(folder, out):
    """Ashlar's edge aligner, mosaic and pyramid writer."""
    import numpy as np
    import skimage.io
    from ashlar import reg

    header, records = read_fields(folder)
    pixel_um = header["pixel_size_um"]
    height, width = header["frame_shape"]

    class Metadata(reg.Metadata):
        _num_images = len(records)
        num_channels = 3
        pixel_size = pixel_um
        pixel_dtype = np.dtype(np.uint8)

        def tile_position(self, i):
            return np.array([records[i]["stage_y_um"], records[i]["stage_x_um"]]) / pixel_um

        def tile_size(self, i):  # noqa: ARG002
            return np.array([height, width])

    class Reader(reg.Reader):
        metadata = Metadata()

        def __init__(self):
            self._frame = lru_cache(None)(lambda i: skimage.io.imread(folder / records[i]["file"]))

        def read(self, series, c):
            return np.ascontiguousarray(self._frame(series)[..., c])

    began_s = time.perf_counter()
    aligner = reg.EdgeAligner(Reader(), channel=1, do_make_thumbnail=False)
    nominal = np.array(aligner.metadata.positions)
    aligner.run()
    mosaic = reg.Mosaic(aligner, aligner.mosaic_shape, channels=[0, 1, 2])
    reg.PyramidWriter([mosaic], str(out)).run()
    seconds = time.perf_counter() - began_s
    seams = []
    for (a, b), (shift, error) in aligner._cache.items():
        if np.isfinite(error):
            dy, dx = nominal[b] - nominal[a] + shift
            seams.append([int(a), int(b), float(dx), float(dy)])
    return seconds, np.asarray(aligner.positions)[:, ::-1].tolist(), len(aligner._cache), seams


def multiview_stitcher(folder, out):
    """multiview-stitcher's registration and fusion; its TIFF has no pyramid, so one is written from what it fused."""
    import numpy as np
    import skimage.io
    import tifffile
    from multiview_stitcher import fusion, msi_utils, registration
    from multiview_stitcher import spatial_image_utils as si_utils

    header, records = read_fields(folder)
    pixel_um = header["pixel_size_um"]
    began_s = time.perf_counter()
    msims = []
    for record in records:
        frame = np.moveaxis(skimage.io.imread(folder / record["file"]), -1, 0)
        sim = si_utils.get_sim_from_array(
            np.ascontiguousarray(frame),
            dims=["c", "y", "x"],
            scale={"y": pixel_um, "x": pixel_um},
            translation={"y": record["stage_y_um"], "x": record["stage_x_um"]},
            transform_key="stage",
            c_coords=["r", "g", "b"],
        )
        msims.append(msi_utils.get_msim_from_sim(sim, scale_factors=[]))
    parameters = registration.register(
        msims, transform_key="stage", new_transform_key="registered", reg_channel="g", reg_res_level=0
    )
    sims = [msi_utils.get_sim_from_msim(msim) for msim in msims]
    fused = fusion.fuse(sims, transform_key="registered", output_chunksize=1024)
    whole = np.asarray(fused.data.compute()).reshape(3, *fused.shape[-2:])
    levels = [np.ascontiguousarray(np.moveaxis(whole, 0, -1).astype(np.uint8))]
    while max(levels[-1].shape[:2]) > 1024:
        even = levels[-1][: levels[-1].shape[0] // 2 * 2, : levels[-1].shape[1] // 2 * 2].astype(np.uint16)
        levels.append(((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) // 4).astype(np.uint8))
    with tifffile.TiffWriter(out, bigtiff=True, ome=True) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                tile=(256, 256),
                photometric="rgb",
                subifds=len(levels) - 1 if number == 0 else None,
                subfiletype=1 if number else 0,
                metadata={"axes": "YXS"} if number == 0 else None,
            )
    seconds = time.perf_counter() - began_s
    positions = []
    for record, parameter in zip(records, parameters, strict=True):
        matrix = np.asarray(parameter).squeeze()
        y, x = matrix[:2, :2] @ (record["stage_y_um"], record["stage_x_um"]) + matrix[:2, 2]
        positions.append([float(x) / pixel_um, float(y) / pixel_um])
    return seconds, positions, None, None


PEERS = {"ashlar": ashlar, "multiview-stitcher": multiview_stitcher}


def main(name, folder, out):
    """Run one peer and print what it found."""
    seconds, positions, compared, seams = PEERS[name](Path(folder), Path(out))
    print(json.dumps({"seconds": seconds, "positions": positions, "compared": compared, "seams": seams}))


if __name__ == "__main__":
    main(*sys.argv[1:])
