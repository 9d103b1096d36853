"""Roles, and what each may do."""

from __future__ import annotations

from enum import StrEnum

from parfocal.errors import SettingsError


class Right(StrEnum):
    """Something that not everybody may do."""

    BROWSE = "look at slides and draw on them"
    IDENTIFY = "see what slides are called and what others drew"
    OPERATE = "run the microscope and label focal stacks"
    LEAD = "set up and close studies"
    ADMINISTER = "make accounts and read the audit trail"


class Role(StrEnum):
    """What somebody is here for."""

    OPERATOR = "operator"
    READER = "reader"
    LEAD = "study-lead"
    ADMIN = "admin"

    @property
    def rights(self) -> frozenset[Right]:
        """What they may do."""
        return _RIGHTS[self]


_RIGHTS = {
    Role.OPERATOR: frozenset({Right.BROWSE, Right.IDENTIFY, Right.OPERATE}),
    Role.READER: frozenset({Right.BROWSE}),
    Role.LEAD: frozenset({Right.BROWSE, Right.IDENTIFY, Right.LEAD}),
    Role.ADMIN: frozenset(Right),
}


def role_named(name: str) -> Role:
    """The role of this name.

    Raises:
        SettingsError: if there is none.
    """
    try:
        return Role(name)
    except ValueError as error:
        raise SettingsError(f"role {name!r} is none of {', '.join(Role)}") from error
