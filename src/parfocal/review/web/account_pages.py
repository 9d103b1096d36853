"""Signing in and out, one's own password, and the accounts of everybody."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from parfocal.errors import SettingsError
from parfocal.review.accounts import accounts, trail
from parfocal.review.accounts.passwords import LONGEST, SHORTEST, is_password, make_up_password
from parfocal.review.accounts.roles import Role, role_named
from parfocal.review.web.guards import Administering, meant
from parfocal.review.web.pages import render
from parfocal.review.web.services import Services, WithServices
from parfocal.review.web.visitors import COOKIE, Perhaps, Visitor, WithVisitor, address_of, visitors_of

router = APIRouter(dependencies=[Depends(meant)], include_in_schema=False)

_Word = Annotated[str, Form(max_length=200)]
_EntryId = Annotated[int, Query(ge=1, lt=2**31)]


@router.get("/sign-in")
def sign_in_page(request: Request, visitor: Perhaps, services: WithServices, next: str = "/") -> Response:
    """The form; none where a proxy signs people in."""
    if visitor is not None:
        return RedirectResponse(_own_path(next), 303)
    if services.settings.proxy_header is not None:
        raise HTTPException(403, "you were signed in by a name that has no account here: ask an admin for one")
    return render(request, "sign_in.html", None, next=_own_path(next), problem="", name="")


@router.post("/sign-in")
def sign_in(
    request: Request,
    services: WithServices,
    name: _Word,
    password: _Word,
    next: _Word = "/",
) -> Response:
    """Sign a browser in."""
    token, status = None, 401
    try:
        token = accounts.sign_in(services.database, name, password, address_of(request))
        problem = "Name or password is wrong."
    except accounts.TooManyAttempts as error:
        problem, status = str(error), 429
    if token is None:
        values = {"next": _own_path(next), "problem": problem, "name": name}
        return render(request, "sign_in.html", None, status=status, **values)
    answer = RedirectResponse(_own_path(next), 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=services.settings.behind_https)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, visitor: WithVisitor, services: WithServices) -> Response:
    """Sign a browser out."""
    token = request.cookies.get(COOKIE)
    if token:
        accounts.sign_out(services.database, token, visitor.name, address_of(request))
    visitors_of(request).forget()
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/account")
def account_page(request: Request, visitor: WithVisitor) -> HTMLResponse:
    """Who one is, and the form for another password."""
    return _account(request, visitor)


@router.post("/account/password")
def change_password(
    request: Request, visitor: WithVisitor, services: WithServices, old: _Word, new: _Word, again: _Word
) -> Response:
    """Change one's own password; every other browser is signed out."""
    if visitor.how != "password":
        raise HTTPException(403, "you have no password here")
    with services.database.reading() as session:
        account = accounts.by_name(session, visitor.name)
    if account is None or not is_password(old, account.password):
        return _account(request, visitor, "The old password is wrong.", 422)
    if new != again:
        return _account(request, visitor, "The new password was not typed twice alike.", 422)
    try:
        with services.database.writing() as session:
            account = accounts.by_name(session, visitor.name)
            assert account is not None
            accounts.set_password(session, account, new, by=visitor.name, address=address_of(request))
    except SettingsError as error:
        return _account(request, visitor, str(error), 422)
    visitors_of(request).forget()
    return RedirectResponse("/sign-in", 303)


def _account(request: Request, visitor: Visitor, problem: str = "", status: int = 200) -> HTMLResponse:
    values = {"problem": problem, "shortest": SHORTEST, "longest": LONGEST}
    return render(request, "account.html", visitor, status=status, **values)


@router.get("/accounts")
def accounts_page(request: Request, visitor: Administering, services: WithServices) -> HTMLResponse:
    """Everybody."""
    return _accounts(request, visitor, services)


@router.post("/accounts")
def add_account(
    request: Request, visitor: Administering, services: WithServices, name: _Word, role: _Word
) -> HTMLResponse:
    """Make an account; its password is shown this once."""
    try:
        with services.database.writing() as session:
            first = accounts.count(session) == 0
            if first and role_named(role) is not Role.ADMIN:
                raise SettingsError("the first account is an admin's: from then on everybody has to sign in")
            made_up = accounts.add(
                session,
                name,
                role_named(role),
                by=visitor.name,
                address=address_of(request),
                proxy=services.settings.proxy_header is not None,
            )
    except SettingsError as error:
        return _accounts(request, visitor, services, problem=str(error), status=422)
    visitors_of(request).forget()
    return _accounts(request, visitor, services, told=(name, made_up))


@router.post("/accounts/{name}/password")
def reset_password(request: Request, name: str, visitor: Administering, services: WithServices) -> HTMLResponse:
    """Make up a new password, which is shown this once."""
    made_up = make_up_password()
    with services.database.writing() as session:
        account = accounts.by_name(session, name)
        if account is None:
            raise HTTPException(404, "there is no such account")
        accounts.set_password(session, account, made_up, by=f"{visitor.name}", address=address_of(request))
        account.must_change = True
    visitors_of(request).forget()
    return _accounts(request, visitor, services, told=(name, made_up))


@router.post("/accounts/{name}/{what}")
def switch_account(
    request: Request, name: str, what: str, visitor: Administering, services: WithServices
) -> HTMLResponse:
    """Disable or enable an account."""
    if what not in ("disable", "enable"):
        raise HTTPException(404, "there is no such page")
    try:
        with services.database.writing() as session:
            account = accounts.by_name(session, name)
            if account is None:
                raise HTTPException(404, "there is no such account")
            accounts.set_disabled(session, account, what == "disable", by=visitor.name, address=address_of(request))
    except SettingsError as error:
        return _accounts(request, visitor, services, problem=str(error), status=422)
    visitors_of(request).forget()
    return _accounts(request, visitor, services)


def _accounts(
    request: Request,
    visitor: Visitor,
    services: Services,
    problem: str = "",
    told: tuple[str, str] = ("", ""),
    status: int = 200,
) -> HTMLResponse:
    with services.database.reading() as session:
        everybody = accounts.everybody(session)
    values = {"accounts": everybody, "roles": list(Role), "problem": problem, "told": told}
    return render(request, "accounts.html", visitor, status=status, **values)


@router.get("/trail")
def trail_page(
    request: Request, visitor: Administering, services: WithServices, before: _EntryId | None = None
) -> HTMLResponse:
    """The audit trail, newest first."""
    with services.database.reading() as session:
        entries = trail.latest(session, before)
    return render(request, "trail.html", visitor, entries=entries)


def _own_path(path: str) -> str:
    """A path on this server, and nothing that a browser takes for another one."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
