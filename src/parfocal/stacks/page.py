"""One HTML file on which a human judges focal stacks: curves, planes around every peak, and the command that decides.

It stands alone: no server, no network, nothing of others. Without scripts it can be read and its commands copied; with
them a click on a plane puts the command together.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from parfocal.errors import FileError
from parfocal.stacks.curve_svg import draw_curve
from parfocal.stacks.labels import FocusLabel
from parfocal.stacks.stack import FocalStack

_BESIDE_PEAK, _BESIDE_SUSPECT = 2, 1
_LONGEST_PX, _JPEG_QUALITY = 320, 80


@dataclass(frozen=True)
class Judged:
    """A stack, its curve, and what is decided about it.

    Attributes:
        stack: its planes are read for the page.
        curve: with the peak and the suspected ones.
        best_z: the label in the stack's unit; None where there is none.
        state: who said so.
    """

    stack: FocalStack
    curve: FocusLabel
    best_z: float | None
    state: str


def write_page(judged: Sequence[Judged], command: Sequence[str], path: Path) -> None:
    """Write the page.

    Args:
        judged: the stacks, in order.
        command: words that the decisions are added to, such as `parfocal label DIR`.
        path: of the HTML file.

    Raises:
        FileError: if a plane cannot be read or the page not written.
    """
    begin = shlex.join(command)
    doubtful = [number for number, one in enumerate(judged) if one.curve.doubts]
    links = " · ".join(f'<a href="#s{number}">{escape(judged[number].stack.name)}</a>' for number in doubtful)
    parts = [
        _HEAD.format(style=_STYLE, script_hash=_script_hash()),
        f"<h1>Focal stacks: {len(judged)}, in doubt: {len(doubtful)}</h1>\n<p>{links}</p>\n",
        *(_section(number, one, begin) for number, one in enumerate(judged)),
        _FOOT.format(begin=escape(begin, quote=True), script=_SCRIPT),
    ]
    try:
        path.write_bytes("".join(parts).encode("utf-8", "xmlcharrefreplace"))  # names need not be Unicode
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def _section(number: int, one: Judged, begin: str) -> str:
    """One stack: state, doubts, curve, planes, decisions."""
    stack, curve = one.stack, one.curve
    name, unit = stack.name, stack.z_unit
    label = "no label" if one.best_z is None else f"label at {one.best_z:.2f} {unit}"
    confirm, reject = (shlex.quote(f"--{what}={name}") for what in ("confirm", "reject"))
    choices = [
        _choice(number, "", "leave it as it is", checked=True),
        _choice(number, confirm, f"confirm the peak at {curve.best_z:.2f} {unit}"),
        _choice(number, reject, "reject the stack"),
    ]
    elsewhere = shlex.quote(f"--set={name}=Z")
    typed = "\n".join(escape(f"{begin} {what}") for what in (confirm, elsewhere, reject))
    return (
        f'<section id="s{number}">\n<h2>{escape(name)} <small>{escape(label)}, {escape(str(one.state))}; slide '
        f"{escape(str(stack.slide))}</small></h2>\n"
        f'<p class="doubts">{escape("; ".join(curve.doubts)) or "one clear peak"}</p>\n'
        f"{draw_curve(curve, unit, one.best_z)}\n"
        f'<div class="planes">{"".join(_plane(number, one, index) for index in shown_planes(curve))}</div>\n'
        f"<p>{' '.join(choices)}</p>\n<details><summary>Commands</summary><pre>{typed}</pre></details>\n</section>\n"
    )


def shown_planes(curve: FocusLabel) -> list[int]:
    """Indices of the planes around the peak (two on each side) and around each suspected one (one on each side)."""
    peaks = [(int(np.argmax(curve.score)), _BESIDE_PEAK)]
    peaks += [(int(np.argmin(np.abs(curve.z - z))), _BESIDE_SUSPECT) for z in curve.suspected_z]
    near = {index for peak, beside in peaks for index in range(peak - beside, peak + beside + 1)}
    return sorted(index for index in near if 0 <= index < curve.z.size)


def _plane(number: int, one: Judged, index: int) -> str:
    """A plane to look at; choosing it says that the focus is there."""
    stack, curve = one.stack, one.curve
    z = stack.z[index]
    what = "peak" if index == int(np.argmax(curve.score)) else "suspected" if z in curve.suspected_z else ""
    place = f"{z:g} {stack.z_unit}"
    return (
        f'<label class="{what or "beside"}"><input type="radio" name="s{number}" '
        f'value="{escape(shlex.quote(f"--set={stack.name}={z}"), quote=True)}">'
        f'<img loading="lazy" alt="plane at {escape(place)}" src="{_picture(stack, index)}">'
        f"<span>{escape(place)} {what}</span></label>"
    )


def _choice(number: int, value: str, words: str, *, checked: bool = False) -> str:
    told = f'value="{escape(value, quote=True)}"{" checked" if checked else ""}'
    return f'<label><input type="radio" name="s{number}" {told}> {escape(words)}</label>'


def _picture(stack: FocalStack, index: int) -> str:
    """A plane as a data address, at most 320 px on its longer side."""
    plane = stack.plane(index)
    scale = min(1.0, _LONGEST_PX / max(plane.shape[:2]))
    size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")


def _script_hash() -> str:
    """Of the only script that a browser may run on the page."""
    return base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'sha256-{script_hash}'">
<meta name="viewport" content="width=device-width">
<title>Parfocal: where is the focus?</title>
<style>{style}</style>
</head>
<body>
"""

_FOOT = """<footer><label for="command">Choose planes above, then run</label>
<textarea id="command" readonly rows="2" data-begin="{begin}">{begin}</textarea></footer>
<script>{script}</script>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1rem 1rem 6rem; }
section { border-top: 1px solid #8888; padding: .5rem 0; }
h2 { margin: .3rem 0; font-size: 1.1rem; } small { font-weight: normal; opacity: .8; }
svg { width: 30rem; max-width: 100%; height: auto; display: block; }
.planes { display: flex; flex-wrap: wrap; gap: .3rem; }
.planes label { display: block; border: 2px solid #8888; padding: 2px; cursor: pointer; }
.planes .peak { border-color: #2a8a3e; } .planes .suspected { border-color: #c33; border-style: dashed; }
.planes label:has(:checked) { outline: 3px solid #27f; }
.planes input { position: absolute; opacity: 0; }
.planes input:focus-visible ~ img { outline: 3px solid #27f; }
img { display: block; width: 11rem; height: auto; }
img:hover { transform: scale(1.8); transform-origin: bottom; position: relative; z-index: 1; }
p label { margin-right: 1.5rem; } pre { overflow-x: auto; }
footer { position: fixed; inset: auto 0 0; padding: .5rem 1rem; background: Canvas; border-top: 1px solid #8888; }
textarea { width: 100%; box-sizing: border-box; font: 13px monospace; }
"""

_SCRIPT = """
const box = document.getElementById("command");
document.addEventListener("change", () => {
  const chosen = [...document.querySelectorAll("input:checked")].map(input => input.value).filter(Boolean);
  box.value = [box.dataset.begin, ...chosen].join(" ");
});
box.addEventListener("focus", () => box.select());
"""
