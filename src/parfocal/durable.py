"""Files that are either complete under their final name, or not there at all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parfocal.errors import FileError

if sys.platform != "win32":
    import fcntl

PART_SUFFIX = ".part"
"""Ends the name of a file that is being written."""

_ASIDE_PREFIX = ".parfocal-"
_REPLACED = f"replaced{PART_SUFFIX}"


def may_keep(folder: Path) -> bool:
    """Whether what was worked out of a folder can be kept in it: archives may be read-only."""
    return os.access(folder, os.W_OK)


def cannot(action: str, path: Path, error: OSError) -> FileError:
    """The FileError that says which file could not be opened, read or written, and why."""
    return FileError(f"{path}: cannot {action}: {error.strerror or error}")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it becomes `path`, on any error it is removed.

    Raises:
        FileError: if writing failed (disk full, no permission), naming the path and the cause.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        yield part
        _sync(part)
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot("write", path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Let the names in a folder be on disk. Raises OSError if that fails."""
    if os.name != "posix":  # only there can a folder be opened, and does a rename need it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_ours_alone(descriptor: int) -> bool:
    """Whether no other process holds an open file or folder; from now on this one does, until it closes it.

    File systems that know no locks hold nothing back.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def folder_written_aside(folder: Path) -> Iterator[Path]:
    """Yield a path beside `folder` to make a folder at; on success it becomes `folder`, on any error it is removed.

    Raises:
        FileError: if there is something at `folder` already, other than an empty folder, or writing failed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder}: not empty")
    part = folder.with_name(folder.name + PART_SUFFIX)
    try:
        shutil.rmtree(part, ignore_errors=True)
        yield part
        if os.name == "posix":
            os.sync()  # cheaper than one call for each of ten thousand frames
        part.replace(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise cannot("write", folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def all_written_aside(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside `folder` for files and folders; on success they all move into `folder` together.

    What has the same name there is replaced. On any error `folder` stays as it was, or is not there again.

    Raises:
        FileError: if `folder` cannot be made or written, naming it and the cause.
    """
    made = make_folders(folder)
    _clear_what_was_killed(folder)
    try:
        with _temporary_folder(folder) as aside, _final_names(aside, folder):
            yield aside
            _move_in(aside, folder)
    except BaseException:
        for path in made:
            with suppress(OSError):  # not empty: somebody else writes there by now
                path.rmdir()
        raise


def refuse_foreign(folder: Path, owned: Callable[[Path], bool]) -> None:
    """Refuse to write a folder where there is a file, or a folder that holds anything but our own.

    Args:
        folder: need not be there.
        owned: whether a file, by its path relative to the folder, is one that we would write.

    Raises:
        FileError: naming what is there.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder}: is a file, where a folder is to be written")
    for found in folder.rglob("*"):
        if not found.is_dir() and not owned(found.relative_to(folder)):
            raise FileError(f"{folder}: holds {found.relative_to(folder)}, which is no part of what is to be written")


@contextmanager
def _final_names(aside: Path, folder: Path) -> Iterator[None]:
    """What goes wrong aside is told with the names that the user knows."""
    try:
        yield
    except FileError as error:
        raise FileError(str(error).replace(str(aside), str(folder))) from error


def make_folders(folder: Path) -> list[Path]:
    """Make a folder with its parents, on disk when this returns; those that were not there, innermost first.

    Raises:
        FileError: if one cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)
    except OSError as error:
        raise cannot("write", folder, error) from error
    return missing


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    try:
        made = Path(tempfile.mkdtemp(prefix=f".new{_ASIDE_PREFIX}", suffix=PART_SUFFIX, dir=parent))
    except OSError as error:
        raise cannot("write", parent, error) from error
    with _held(made):  # before it bears the name by which what was killed is known
        path = made.rename(made.with_name(made.name.removeprefix(".new")))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _clear_what_was_killed(parent: Path) -> None:
    """Remove what a killed process left aside; what it had put away to replace it comes back first."""
    for path in parent.glob(f"{_ASIDE_PREFIX}*{PART_SUFFIX}"):
        with suppress(OSError), _held(path) as is_left:
            if is_left:
                for earlier in (path / _REPLACED).glob("*"):
                    if not (parent / earlier.name).exists():
                        earlier.rename(parent / earlier.name)
                shutil.rmtree(path)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder against other processes; whether nobody else does. Where folders cannot be opened, nobody may."""
    if os.name != "posix":
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield is_ours_alone(descriptor)
    finally:
        os.close(descriptor)


def _move_in(aside: Path, folder: Path) -> None:
    """Move all that lies in `aside` into `folder`; if one cannot be moved, none is."""
    names = sorted(path.name for path in aside.iterdir())
    replaced = aside / _REPLACED
    moved: list[str] = []
    try:
        if os.name == "posix" and any((aside / name).is_dir() for name in names):
            os.sync()  # cheaper than one call for each of ten thousand tiles
        replaced.mkdir()
        for name in names:
            moved.append(name)
            if (folder / name).exists():
                (folder / name).rename(replaced / name)
            (aside / name).rename(folder / name)
        sync_folder(folder)
    except OSError as error:
        for name in moved:
            _move_back(name, aside, folder, replaced)
        raise cannot("write", folder, error) from error


def _move_back(name: str, aside: Path, folder: Path, replaced: Path) -> None:
    if not (aside / name).exists():
        (folder / name).rename(aside / name)
    if (replaced / name).exists():
        (replaced / name).rename(folder / name)
