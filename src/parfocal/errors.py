"""Every error that Parfocal raises, on one screen.

Messages name the value, the limit and the unit. The command line turns `InputError` into exit code 2 and any
other `ParfocalError` into exit code 3 (stopped, and the fields folder can be used).
"""


class ParfocalError(Exception):
    """Base of all errors that Parfocal raises on purpose."""


class InputError(ParfocalError):
    """What was asked for cannot be done: nothing was scanned."""


class SettingsError(InputError):
    """A setting is out of its range, or cannot work on this instrument."""


class FileError(InputError):
    """A file or folder is missing, unreadable, unwritable or not what it claims to be."""


class InstrumentError(ParfocalError):
    """The instrument did not do what it was told, or may not."""


class LimitError(InstrumentError):
    """A move would leave the soft limits. Raised before any motion."""


class BudgetError(InstrumentError):
    """A field used up its travel or its time budget."""


class StageStuckError(InstrumentError):
    """The stage was told to move and the picture did not change."""


class LostStepsError(InstrumentError):
    """The x-y stage does not stand where it says."""


class DeviceTimeoutError(InstrumentError):
    """A device did not answer in its time."""


class DisconnectedError(InstrumentError):
    """A device dropped off its line, such as a USB plug that was pulled."""


class ScanStoppedError(ParfocalError):
    """The scan ended early; the fields folder is consistent and can be stitched."""
