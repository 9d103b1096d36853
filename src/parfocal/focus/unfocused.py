"""Where no sweep finds a focus although there is a picture: the fields are taken, and none is said to be in focus."""

from __future__ import annotations

from dataclasses import dataclass

from parfocal.devices.approach import ApproachSettings
from parfocal.focus.decision import FocusSettings
from parfocal.focus.field import Field
from parfocal.focus.policies import PolicyName, Visit
from parfocal.focus.result import FocusResult


@dataclass(frozen=True)
class Unfocused:
    """One exposure a field, where the sweep had its middle; every field is unsure.

    Attributes:
        name: the policy that was asked for.
        approach: of the instrument.
        focus_settings: of the instrument.
        z_um: where all fields are taken, in µm.
        follows: see `FieldPolicy`.
        is_checked: neighbours that are as blurred tell nothing.
    """

    name: PolicyName
    approach: ApproachSettings
    focus_settings: FocusSettings
    z_um: float
    follows: bool = False
    is_checked: bool = False

    def first_um(self, _visit: Visit) -> float:
        """The same z for every field."""
        return self.z_um

    def focus(self, field: Field, _visit: Visit) -> FocusResult:
        """Expose once."""
        shot = field.approach("single", self.z_um)
        return field.result("unsure", shot, "no sweep found a focus: the picture does not follow z")
