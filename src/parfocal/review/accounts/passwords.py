"""Passwords: argon2id, a lower limit on their length, and made-up ones to hand on."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from parfocal.errors import SettingsError

SHORTEST, LONGEST = 10, 128
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that is taken for another
_HASHER = PasswordHasher()


def hash_password(password: str) -> str:
    """What is kept of a password.

    Raises:
        SettingsError: if it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise SettingsError(f"a password of {len(password)} characters is not {SHORTEST} to {LONGEST} characters long")
    return _HASHER.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Whether this is the password. It takes as long for an account that does not exist."""
    nobody = _of_nobody()  # whoever asks first: nothing is to be told by how long it takes
    try:
        return _HASHER.verify(kept or nobody, password[: LONGEST + 1]) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _of_nobody() -> str:
    return _HASHER.hash(secrets.token_hex())


def make_up_password() -> str:
    """A password that can be read out on the telephone: 4 groups of 4 characters, 79 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
