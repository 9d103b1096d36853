"""Who is asking: by a cookie, by a reverse proxy's header, or because this computer has no accounts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Literal

from fastapi import Depends, HTTPException, Request

from parfocal.review.accounts import accounts
from parfocal.review.accounts.roles import Right, Role
from parfocal.review.addresses import is_address, is_loopback
from parfocal.review.database.tables import Account
from parfocal.review.web.services import Services, services_of

COOKIE = "parfocal"
_KNOWN_FOR_S = 5.0
_MOST_KNOWN = 1000
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

_CHANGING = ("/account", "/account/password", "/sign-out")  # all that a made-up password opens

How = Literal["local", "password", "proxy"]


@dataclass(frozen=True)
class Visitor:
    """Who is asking.

    Attributes:
        name: of the account; "local" where there are none.
        role: what they are here for.
        how: how they are known.
        key: of their browser, for the forms' tokens.
        must_change: whether they must choose a password first.
    """

    name: str
    role: Role
    how: How
    key: str
    must_change: bool = False

    def may(self, right: Right) -> bool:
        """Whether they may do this."""
        return right in self.role.rights


class Visitors:
    """Recognises visitors, and remembers them for a few seconds: a page asks for dozens of tiles.

    Args:
        services: of the server.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[tuple[How, str], tuple[float, Visitor]] = {}
        self._lock = Lock()

    def remembered(self, request: Request) -> Visitor | None:
        """Whoever this is, if they were recognised just now; asks no database."""
        claim = self._claim(request)
        with self._lock:
            known = None if claim is None else self._known.get(claim)
        return known[1] if known and time.monotonic() - known[0] < _KNOWN_FOR_S else None

    def recognise(self, request: Request, *, renew: bool = True) -> Visitor | None:
        """Whoever this is; None for nobody we know. Unless it is to `renew`, it does not keep a session from ending."""
        known = self.remembered(request)
        claim = self._claim(request)
        if known is not None or claim is None:
            return known
        found = self._look_up(*claim, renew=renew)
        if found is not None:
            with self._lock:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[claim] = (time.monotonic(), found)
        return found

    def forget(self) -> None:
        """Something about accounts has changed: everybody is looked up again."""
        with self._lock:
            self._known.clear()

    def _claim(self, request: Request) -> tuple[How, str] | None:
        """How somebody wants to be recognised, and by what."""
        settings = self._services.settings
        if settings.proxy_header is not None:
            name = request.headers.get(settings.proxy_header)
            return ("proxy", name) if name else None
        token = request.cookies.get(COOKIE)
        if token:
            return "password", token
        return ("local", accounts.RESERVED) if settings.is_loopback and is_local(request) else None

    def _look_up(self, how: How, claim: str, *, renew: bool) -> Visitor | None:
        database, limits = self._services.database, self._services.settings.sessions
        if how == "password":
            account = accounts.signed_in(database, claim, limits, renew=renew)
            return None if account is None else _visitor(account, how, accounts.hash_token(claim))
        with database.reading() as session:
            if how == "local":
                return None if accounts.count(session) else Visitor(claim, Role.ADMIN, how, claim)
            account = accounts.by_name(session, claim)
        return None if account is None or account.disabled else _visitor(account, how, f"proxy {claim}")


def _visitor(account: Account, how: How, key: str) -> Visitor:
    return Visitor(account.name, Role(account.role), how, key, account.must_change and how == "password")


def is_local(request: Request) -> bool:
    """Whether a request was meant for this computer by this name, and came straight from it.

    Another web site can point its own name at 127.0.0.1, and a proxy may speak for anybody.
    """
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name in _LOCAL_NAMES and not any(header in request.headers for header in _FORWARDED)


def address_of(request: Request) -> str:
    """Network address of whoever asks: what a proxy on this computer hands on comes from the last one it names."""
    peer = request.client.host if request.client else ""
    named = request.headers.getlist("x-forwarded-for")
    last = named[-1].rpartition(",")[2].strip() if named else ""
    is_handed_on = services_of(request).settings.is_behind_proxy and is_loopback(peer) and is_address(last)
    return last if is_handed_on else peer


def visitors_of(request: Request) -> Visitors:
    """Of the application that a request came to."""
    found: Visitors = request.app.state.visitors
    return found


def anybody(request: Request) -> Visitor | None:
    """Whoever is asking, or None."""
    return visitors_of(request).recognise(request)


def somebody(request: Request, visitor: Annotated[Visitor | None, Depends(anybody)]) -> Visitor:
    """Whoever is asking.

    Raises:
        HTTPException: 401 if they are not signed in, 403 if they must choose a password first.
    """
    if visitor is None:
        raise HTTPException(401, "sign in first")
    if visitor.must_change and request.url.path not in _CHANGING:
        raise HTTPException(403, "choose a password of your own first")
    return visitor


WithVisitor = Annotated[Visitor, Depends(somebody)]
Perhaps = Annotated[Visitor | None, Depends(anybody)]
