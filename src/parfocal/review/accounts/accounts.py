"""Accounts: made, changed, disabled, and signed in. Everything leaves a line in the trail."""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from parfocal.errors import SettingsError
from parfocal.review.accounts import trail
from parfocal.review.accounts.passwords import hash_password, is_password, make_up_password
from parfocal.review.accounts.roles import Role
from parfocal.review.addresses import is_loopback
from parfocal.review.database.connection import Database
from parfocal.review.database.tables import Account, SignIn

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
RESERVED = "local"
"""Who works on a computer where no account is set up."""

REFUSED = "sign-in refused"
_WINDOW = datetime.timedelta(minutes=10)
_MOST_FOR_NAME, _MOST_FOR_ADDRESS = 5, 30
_MOST_HASHING, _PATIENCE_S = 3, 5.0
_HASHING, _COUNTING = BoundedSemaphore(_MOST_HASHING), Lock()
_ATTEMPTS: Counter[tuple[str, int, str, str]] = Counter()
_SEEN_EVERY = datetime.timedelta(minutes=1)


@dataclass(frozen=True)
class SessionLimits:
    """How long a browser stays signed in.

    Attributes:
        hours: from the sign-in, whatever is done.
        idle_hours: without a request.
    """

    hours: float = 12.0
    idle_hours: float = 1.0

    def __post_init__(self) -> None:
        for name in ("hours", "idle_hours"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"a session of {getattr(self, name):g} {name} is not above 0 h")


class TooManyAttempts(SettingsError):  # noqa: N818
    """Signing in was refused too often of late."""


def count(session: Session) -> int:
    """How many accounts there are, disabled ones included."""
    return session.scalar(select(func.count()).select_from(Account)) or 0


def by_name(session: Session, name: str) -> Account | None:
    """The account of this name."""
    return session.scalar(select(Account).where(Account.name == trail.storable(name)))


def everybody(session: Session) -> list[Account]:
    """All accounts by name."""
    return list(session.scalars(select(Account).order_by(Account.name)))


def add(
    session: Session,
    name: str,
    role: Role,
    password: str | None = None,
    *,
    by: str,
    address: str = "",
    proxy: bool = False,
) -> str:
    """Make an account.

    Args:
        session: of a transaction that writes.
        name: letters, digits and `. _ @ -`, at most 64.
        role: what they are here for.
        password: theirs; one is made up, and has to be changed, if None.
        by: who makes it.
        address: from where.
        proxy: whether a reverse proxy signs them in, without a password.

    Returns:
        The password that was made up, or nothing.

    Raises:
        SettingsError: if the name is taken or not possible, or the password too short.
    """
    if not _NAME.fullmatch(name) or name == RESERVED:
        raise SettingsError(f"name {name!r} is not 1 to 64 letters, digits and . _ @ -, or is reserved")
    if by_name(session, name):
        raise SettingsError(f"there is an account {name!r} already")
    made_up = "" if proxy or password is not None else make_up_password()
    kept = None if proxy else hash_password(password or made_up)
    session.add(
        Account(name=name, role=role, password=kept, must_change=bool(made_up), disabled=False, created_at=trail.now())
    )
    trail.note(session, by, "account made", name, address, role=role)
    return made_up


def set_password(session: Session, account: Account, password: str, *, by: str, address: str = "") -> None:
    """Change a password; every browser that was signed in with the old one is signed out.

    Raises:
        SettingsError: if it is too short or too long.
    """
    account.password, account.must_change = hash_password(password), by != account.name
    session.execute(delete(SignIn).where(SignIn.account_id == account.id))
    trail.note(session, by, "password changed", account.name, address)


def set_disabled(session: Session, account: Account, disabled: bool, *, by: str, address: str = "") -> None:
    """Let somebody sign in no more, or again.

    Raises:
        SettingsError: if nobody would be left who may make accounts.
    """
    if disabled and account.role == Role.ADMIN:
        admins = [one.id for one in everybody(session) if one.role == Role.ADMIN and not one.disabled]
        if admins == [account.id]:
            raise SettingsError(f"{account.name} is the last admin: nobody could make accounts any more")
    account.disabled = disabled
    session.execute(delete(SignIn).where(SignIn.account_id == account.id))
    trail.note(session, by, "account disabled" if disabled else "account enabled", account.name, address)


def sign_in(database: Database, name: str, password: str, address: str) -> str | None:
    """Sign a browser in.

    Args:
        database: of the accounts.
        name: of the account.
        password: as it was typed.
        address: of the browser.

    Returns:
        The value of the cookie; None if name or password are wrong.

    Raises:
        TooManyAttempts: if this name or address was refused too often within ten minutes, or too many sign in at once.
    """
    wheres = _counted_by(name, address)
    with _under_way(database.url, wheres) as at_once:
        with database.reading() as session:
            _check_attempts(session, wheres, at_once)
        return _try(database, name, password, address)


def _try(database: Database, name: str, password: str, address: str) -> str | None:
    with database.reading() as session:
        account = by_name(session, name)
        kept = account.password if account is not None and not account.disabled else None
    right = _is_password(password, kept)
    with database.writing() as session:
        if account is None or not right:
            trail.note(session, "", REFUSED, name, address)
            return None
        token = secrets.token_urlsafe(32)
        moment = trail.now()
        session.add(SignIn(token_hash=hash_token(token), account_id=account.id, created_at=moment, seen_at=moment))
        trail.note(session, name, "signed in", name, address)
    return token


def _is_password(password: str, kept: str | None) -> bool:
    """It takes a tenth of a second and 64 MiB on purpose: outside any transaction, and a few at a time."""
    if not _HASHING.acquire(timeout=_PATIENCE_S):
        raise TooManyAttempts("too many sign in at once: try again")
    try:
        return is_password(password, kept)
    finally:
        _HASHING.release()


def _counted_by(name: str, address: str) -> tuple[tuple[int, str, str], ...]:
    """(limit, column of the trail, value). Behind a proxy that names nobody everybody comes from this computer."""
    by_name = (_MOST_FOR_NAME, "subject", trail.storable(name)[:200])
    return (by_name,) if is_loopback(address) else (by_name, (_MOST_FOR_ADDRESS, "address", address[:64]))


@contextmanager
def _under_way(url: str, wheres: tuple[tuple[int, str, str], ...]) -> Iterator[list[int]]:
    """How many attempts are being made, this one included: none of them stands in the trail yet."""
    keys = [(url, *where) for where in wheres]
    with _COUNTING:
        _ATTEMPTS.update(keys)
        at_once = [_ATTEMPTS[key] for key in keys]
    try:
        yield at_once
    finally:
        with _COUNTING:
            _ATTEMPTS.subtract(keys)
            for key in keys:
                if not _ATTEMPTS[key]:
                    del _ATTEMPTS[key]


def _check_attempts(session: Session, wheres: tuple[tuple[int, str, str], ...], at_once: list[int]) -> None:
    since = trail.now() - _WINDOW
    for (most, column, value), more in zip(wheres, at_once, strict=True):
        if trail.count_since(session, REFUSED, since, **{column: value}) + more > most:
            raise TooManyAttempts(f"signing in was refused {most} times within 10 minutes: wait 10 minutes")


def signed_in(database: Database, token: str, limits: SessionLimits, *, renew: bool = True) -> Account | None:
    """Whose browser this is; None if it is nobody's, or was signed in too long ago. With `renew` it was seen now."""
    moment, key = trail.now(), hash_token(token)
    with database.reading() as session:
        row = session.get(SignIn, key)
        if row is None or _is_over(row, limits, moment):
            return None
        account = session.get(Account, row.account_id)
        seen_at = row.seen_at
    if renew and moment - seen_at >= _SEEN_EVERY:
        with database.writing() as session:
            again = session.get(SignIn, key)
            if again is not None:
                again.seen_at = moment
    return None if account is None or account.disabled else account


def _is_over(row: SignIn, limits: SessionLimits, moment: datetime.datetime) -> bool:
    hours, idle = datetime.timedelta(hours=limits.hours), datetime.timedelta(hours=limits.idle_hours)
    return moment - row.created_at >= hours or moment - row.seen_at >= idle


def sign_out(database: Database, token: str, name: str, address: str) -> None:
    """Sign a browser out."""
    with database.writing() as session:
        session.execute(delete(SignIn).where(SignIn.token_hash == hash_token(token)))
        trail.note(session, name, "signed out", name, address)


def hash_token(token: str) -> str:
    """What is kept of a cookie's value."""
    return hashlib.sha256(token.encode()).hexdigest()
