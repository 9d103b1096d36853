"""A lamp on a board."""

from __future__ import annotations

from parfocal.devices.serial_stage.board import Board
from parfocal.errors import InstrumentError


class SerialLamp:
    """A lamp that two commands of a board switch.

    Args:
        board: awake.
        on: command that lights it.
        off: command that puts it out.
    """

    def __init__(self, board: Board, on: str, off: str) -> None:
        self._board = board
        self._on = on
        self._off = off
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """What it was told last."""
        return self._is_on

    def on(self) -> None:
        """Light it. Raises InstrumentError if the board does not take the command."""
        self._is_on = True
        self._board.switch(self._on)

    def off(self) -> None:
        """Put it out, in any state of the board. Raises InstrumentError if it may still be lit."""
        try:
            self._board.put_out(self._off)
        except InstrumentError as error:
            raise InstrumentError(f"the lamp may still be lit: {error}") from error
        self._is_on = False
