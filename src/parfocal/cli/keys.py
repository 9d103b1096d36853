"""Keys on a terminal while a scan runs: p or the space bar pauses it and lets it go on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from parfocal.scan.pause import ScanSwitch

_PAUSE_KEYS = ("p", "P", " ")
_LOOK_EVERY_S = 0.2


@contextmanager
def keys_pause(*, quiet: bool) -> Iterator[ScanSwitch]:
    """A switch that keys turn while the block runs, where there is a terminal with keys; Ctrl-C stays what it is."""
    from parfocal.scan.pause import ScanSwitch

    switch = ScanSwitch()
    if quiet or not (sys.stdin.isatty() and sys.stderr.isatty() and sys.platform != "win32"):
        yield switch
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(switch, done), daemon=True)
    try:
        tty.setcbreak(sys.stdin)
        watcher.start()
        yield switch
    finally:
        done.set()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _watch(switch: ScanSwitch, done: threading.Event) -> None:
    import select

    while not done.is_set():
        ready, _, _ = select.select([sys.stdin], [], [], _LOOK_EVERY_S)
        if ready and sys.stdin.read(1) in _PAUSE_KEYS:
            switch.toggle()
            told = "paused after this field; p goes on" if switch.is_paused else "going on"
            click.echo(f"\n{told}", err=True)
