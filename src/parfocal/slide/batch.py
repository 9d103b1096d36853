"""Many scans at once: each is one task on a Dask cluster, and comes out as it would alone."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parfocal.errors import FileError, ParfocalError, SettingsError
from parfocal.slide.fields.layout import HEADER_FILE
from parfocal.slide.registration.seams import Progress

Figures = dict[str, Any]
"""What is told of one scan; of one that failed, `folder` and `error`."""

_ANSWER_WITHIN_S = 10


def scans_in(paths: Sequence[Path]) -> list[Path]:
    """The fields folders among paths and, of those that are none themselves, directly inside them, by name.

    Raises:
        FileError: if a path holds none, or two have the same name, which names their results.
    """
    found: list[Path] = []
    for path in paths:
        inside = (
            [path] if (path / HEADER_FILE).is_file() else sorted(file.parent for file in path.glob(f"*/{HEADER_FILE}"))
        )
        if not inside:
            raise FileError(f"{path}: no fields folder, and holds none")
        found += [folder.resolve() for folder in inside]
    names: dict[str, Path] = {}
    for folder in found:
        if folder.name in names:
            raise FileError(f"{names[folder.name]} and {folder}: results are named after the folder, these are alike")
        names[folder.name] = folder
    return found


def run_many(
    task: Callable[[Path], Figures],
    folders: Sequence[Path],
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[Figures]:
    """Run a task for each scan. One that fails does not hold up the others.

    Args:
        task: picklable; given a fields folder.
        folders: the scans, as absolute paths that every machine of the cluster sees.
        scheduler: address of a Dask scheduler, such as `tcp://10.0.0.1:8786`; a cluster of this machine's cores if
            None, or one scan after the other where Dask is not installed.
        progress: told about each scan.

    Returns:
        What the task returned, in the order of the folders; `error` in place of it where it raised a ParfocalError.

    Raises:
        SettingsError: if no scheduler answers, or there is an address and Dask is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        if scheduler is not None:
            raise SettingsError(f"--scheduler {scheduler} needs Dask: pip install 'parfocal[dask]'")
        return list(_in_turn(task, folders, progress))
    from distributed import KilledWorker, as_completed

    told: dict[Path, Figures] = {}
    with _client(scheduler, len(folders)) as client:
        futures = {client.submit(task, folder, pure=False): folder for folder in folders}
        for future in as_completed(futures):
            folder = futures[future]
            try:
                told[folder] = {"folder": str(folder), **future.result()}
            except (ParfocalError, KilledWorker) as error:
                told[folder] = _failure(folder, error)
            if progress:
                progress("slides", len(told), len(folders))
    return [told[folder] for folder in folders]


def _in_turn(task: Callable[[Path], Figures], folders: Sequence[Path], progress: Progress | None) -> Iterator[Figures]:
    for done, folder in enumerate(folders, start=1):
        try:
            yield {"folder": str(folder), **task(folder)}
        except ParfocalError as error:
            yield _failure(folder, error)
        if progress:
            progress("slides", done, len(folders))


def _failure(folder: Path, error: Exception) -> Figures:
    return {"folder": str(folder), "error": str(error)}


@contextmanager
def _client(scheduler: str | None, tasks: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=_ANSWER_WITHIN_S)
        except (OSError, ValueError) as error:
            raise SettingsError(f"--scheduler {scheduler}: no Dask scheduler answers: {error}") from error
        with client:
            yield client
        return
    workers = min(tasks, os.cpu_count() or 1)
    with (
        LocalCluster(  # memory is bounded by what the task does, not by Dask, which would kill it
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
