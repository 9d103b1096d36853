"""The drivers `grbl`, `marlin` and `sangaboard`: their settings, and the devices that come of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator

from parfocal.devices.driver import Asked, Devices, Driver, DriverSettings, Found, Limits, Role
from parfocal.devices.serial_stage.board import Board, Timeouts
from parfocal.devices.serial_stage.grbl import GrblBoard
from parfocal.devices.serial_stage.lamp import SerialLamp
from parfocal.devices.serial_stage.line import SerialLine
from parfocal.devices.serial_stage.marlin import MarlinBoard
from parfocal.devices.serial_stage.ports import boards_on_ports
from parfocal.devices.serial_stage.sangaboard import SangaBoard
from parfocal.devices.stepped import AXES, AxisName, HomingXY, HomingZ, SteppedAxis, SteppedXY, SteppedZ
from parfocal.errors import InstrumentError, SettingsError

_ROLES: frozenset[Role] = frozenset({"xy", "z", "lamp"})
_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]


class SerialSettings(DriverSettings):
    """What all three need.

    Attributes:
        port: serial port.
        baud: bits a second.
        x_limits_um: soft limits of x in µm; likewise y and z.
        origin_um: where our (0, 0, 0) is in the board's coordinates, in µm.
        settle_ms: pause after a move.
        wake_s: how long the board may take from opening its port to its first answer.
        answer_s: how long it may take to acknowledge a command.
        move_s: how long a move may take.
    """

    port: str
    baud: int = 115_200
    x_limits_um: Limits
    y_limits_um: Limits
    z_limits_um: Limits
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    settle_ms: _NotNegative = 20.0
    wake_s: _Positive = 6.0
    answer_s: _Positive = 1.0
    move_s: _Positive = 30.0

    def timeouts(self, home_s: float = 0.0) -> Timeouts:
        """How long the board may take."""
        return Timeouts(self.wake_s, self.answer_s, self.move_s, home_s)


class GcodeSettings(SerialSettings):
    """What boards that speak G-code need.

    Attributes:
        um_per_unit: µm that x, y and z really move for one mm of the board's coordinates.
        home: whether the stage is homed when it is opened and the board does not know where it is.
        home_s: how long homing may take.
        zero: where axes that are not homed have the board's zero: "switches" refuses them, "power-on" believes the
            board, which counts from where it was switched on, "here" takes where they stand when they are opened.
        lamp_on: command that lights the lamp.
        lamp_off: command that puts it out.
    """

    um_per_unit: tuple[_Positive, _Positive, _Positive] = (1000.0, 1000.0, 1000.0)
    home: bool = True
    home_s: _Positive = 120.0
    zero: Literal["switches", "power-on", "here"] = "switches"
    lamp_on: str = "M3 S1000"
    lamp_off: str = "M5"


class GrblSettings(GcodeSettings):
    """GRBL.

    Attributes:
        unlock: whether a board locked by an alarm is unlocked, not homed; its position may then be wrong.
    """

    unlock: bool = False


class MarlinSettings(GcodeSettings):
    """Marlin.

    Attributes:
        feed_per_min: speed of moves in mm of the board's a minute.
        home_axes: which axes have home switches.
    """

    lamp_on: str = "M106 S255"
    lamp_off: str = "M107"
    feed_per_min: _Positive = 600.0
    home_axes: Annotated[str, Field(pattern="^[xyz]{1,3}$")] = "xyz"

    @field_validator("home_axes")
    @classmethod
    def _names_each_once(cls, axes: str) -> str:
        if len(set(axes)) < len(axes):
            raise ValueError(f"home_axes {axes!r} names an axis twice")
        return axes


class SangaboardSettings(SerialSettings):
    """Sangaboard.

    Attributes:
        um_per_step: µm of a step of x, y and z.
        zero: whether where the stage stands when it is opened becomes the board's zero.
        brightness: of the lamp at the constant-current output, 0 to 1.
    """

    um_per_step: tuple[_Positive, _Positive, _Positive]
    zero: bool = False
    brightness: Annotated[float, Field(gt=0, le=1)] = 0.32


_Settings = TypeVar("_Settings", bound=SerialSettings)
_SomeBoard = TypeVar("_SomeBoard", bound=Board)


def _open_grbl(settings: GrblSettings, asked: Asked) -> Devices:
    def make(line: SerialLine) -> GrblBoard:
        return GrblBoard(line, settings.timeouts(settings.home_s), unlock=settings.unlock)

    def ready(board: GrblBoard) -> None:
        if "lamp" in asked.roles:
            board.check_lamp(settings.lamp_on)
        if settings.home or settings.unlock:
            board.home_if_needed()
        else:
            board.check_unlocked()

    lamp = (settings.lamp_on, settings.lamp_off)
    zero = "power-on" if settings.unlock and settings.zero == "switches" else settings.zero
    return _open(settings, asked, make, ready, settings.um_per_unit, lamp, homes=settings.home, zero=zero)


def _open_marlin(settings: MarlinSettings, asked: Asked) -> Devices:
    def make(line: SerialLine) -> MarlinBoard:
        timeouts = settings.timeouts(settings.home_s)
        home_axes = settings.home_axes if settings.home else ""
        return MarlinBoard(line, timeouts, feed_per_min=settings.feed_per_min, home_axes=home_axes)

    def ready(board: MarlinBoard) -> None:
        if settings.home:
            board.home_if_needed()

    lamp = (settings.lamp_on, settings.lamp_off)
    return _open(settings, asked, make, ready, settings.um_per_unit, lamp, homes=settings.home, zero=settings.zero)


def _open_sangaboard(settings: SangaboardSettings, asked: Asked) -> Devices:
    def make(line: SerialLine) -> SangaBoard:
        return SangaBoard(line, settings.timeouts())

    def ready(board: SangaBoard) -> None:
        if settings.zero:
            board.set_zero()

    lamp = (f"led_cc {settings.brightness:g}", "led_cc 0")
    return _open(settings, asked, make, ready, settings.um_per_step, lamp, homes=False, zero="power-on")


def _open(
    settings: SerialSettings,
    asked: Asked,
    make: Callable[[SerialLine], _SomeBoard],
    ready: Callable[[_SomeBoard], None],
    um_per_unit: tuple[float, float, float],
    lamp_commands: tuple[str, str],
    *,
    homes: bool,
    zero: str,
) -> Devices:
    """Open what is asked for; for the lamp alone nothing is homed."""
    with ExitStack() as letting_go:
        board = make(SerialLine(settings.port, settings.baud))
        letting_go.callback(board.close)
        board.wake()
        lamp = SerialLamp(board, *lamp_commands) if "lamp" in asked.roles else None
        xy, z = None, None
        if asked.roles & {"xy", "z"}:
            board.learn()
            wanted = [axis for axis in AXES if ("z" if axis == "z" else "xy") in asked.roles]
            unhomed = [axis for axis in wanted if not board.homes(axis)]
            _check_zero(board, unhomed, zero)
            zero_here = unhomed if zero == "here" else []
            _axes(settings, board, um_per_unit, zero_here)  # what cannot be is refused before it is homed
            ready(board)
            board.look()
            x_axis, y_axis, z_axis = _axes(settings, board, um_per_unit, zero_here)
            settle_s = settings.settle_ms / 1000
            make_xy = HomingXY if homes and not {"x", "y"} & set(unhomed) else SteppedXY
            make_z = HomingZ if homes and "z" not in unhomed else SteppedZ
            xy = make_xy(board, x_axis, y_axis, settle_s) if "xy" in asked.roles else None
            z = make_z(board, z_axis, settle_s) if "z" in asked.roles else None
        letting_go.pop_all()
    return Devices(xy=xy, z=z, lamp=lamp, close=lambda: _close(board, lamp))


def _check_zero(board: Board, unhomed: list[AxisName], zero: str) -> None:
    if unhomed and zero == "switches":
        raise SettingsError(
            f"board on {board.port}: {', '.join(unhomed)} would not be homed, so nobody knows where it stands: set "
            'zero = "power-on" if its zero is where the board was switched on, or "here" if it is where it stands now'
        )


def _axes(
    settings: SerialSettings, board: Board, um_per_unit: tuple[float, float, float], zero_here: list[AxisName]
) -> list[SteppedAxis]:
    """The axes, before anything moves. Raises SettingsError if their limits cannot be."""
    limits_um = (settings.x_limits_um, settings.y_limits_um, settings.z_limits_um)
    axes: list[SteppedAxis] = []
    parts = zip(AXES, um_per_unit, board.steps_per_unit(), settings.origin_um, limits_um, board.stands, strict=True)
    for name, per_unit, steps_per_unit, origin_um, axis_limits_um, stands in parts:
        um_per_step = per_unit / steps_per_unit
        zero_um = stands * um_per_step if name in zero_here else 0.0
        axis = SteppedAxis(name, um_per_step, origin_um + zero_um, axis_limits_um)
        lowest, highest = axis.limits_steps
        board.check_reach(name, (lowest / steps_per_unit, highest / steps_per_unit))
        axes.append(axis)
    return axes


def _close(board: Board, lamp: SerialLamp | None) -> None:
    if lamp is not None and lamp.is_on:
        with suppress(InstrumentError):  # whoever lit it has been told, by the same attempt
            lamp.off()
    board.close()


def _finder(driver: str) -> Callable[[], list[Found]]:
    return lambda: boards_on_ports(driver)


GRBL = Driver(
    name="grbl",
    summary="stage and lamp on a board with GRBL 1.1",
    roles=_ROLES,
    settings=GrblSettings,
    open=_open_grbl,
    find=_finder("grbl"),
)
MARLIN = Driver(
    name="marlin",
    summary="stage and lamp on a 3D-printer board with Marlin",
    roles=_ROLES,
    settings=MarlinSettings,
    open=_open_marlin,
    find=_finder("marlin"),
)
SANGABOARD = Driver(
    name="sangaboard",
    summary="stage and lamp on a Sangaboard",
    roles=_ROLES,
    settings=SangaboardSettings,
    open=_open_sangaboard,
    find=_finder("sangaboard"),
)
