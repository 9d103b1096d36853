"""What goes wrong, as a page for people and as JSON for programs."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from parfocal.errors import FileError, InputError, ParfocalError
from parfocal.review.accounts.accounts import TooManyAttempts
from parfocal.review.shelf.places import NotHereError
from parfocal.review.web.pages import render
from parfocal.review.web.refusals import Refused, write_down
from parfocal.review.web.visitors import visitors_of


def add_problem_answers(app: FastAPI) -> None:
    """Let every error of ours, and every refusal, be answered in words."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(ParfocalError, _failed)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refused):
        write_down(request, error)
    if _is_page(request) and error.status_code == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        return RedirectResponse(f"/sign-in?next={quote(_wanted(request))}", HTTPStatus.SEE_OTHER)
    if _is_page(request) and error.status_code == HTTPStatus.FORBIDDEN and _must_change(request):
        return RedirectResponse("/account", HTTPStatus.SEE_OTHER)
    return answer(request, error.status_code, str(error.detail))


def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, TooManyAttempts):
        return answer(request, HTTPStatus.TOO_MANY_REQUESTS, str(error))
    if isinstance(error, FileError):
        is_missing = request.method == "GET" or isinstance(error, NotHereError)
        status = HTTPStatus.NOT_FOUND if is_missing else HTTPStatus.UNPROCESSABLE_ENTITY
        return answer(request, status, _without_paths(str(error)))
    is_input = isinstance(error, InputError)
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY if is_input else HTTPStatus.CONFLICT, str(error))


def answer(request: Request, status: int, words: str) -> Response:
    """An error in words: a page where a page was asked for, else JSON."""
    if not _is_page(request):
        return JSONResponse({"detail": words}, status)
    title = HTTPStatus(status).phrase
    return render(
        request, "problem.html", visitors_of(request).remembered(request), status=status, title=title, words=words
    )


def _is_page(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def _must_change(request: Request) -> bool:
    visitor = visitors_of(request).remembered(request)
    return visitor is not None and visitor.must_change


def _wanted(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _without_paths(message: str) -> str:
    """A slide's path may name the patient: who is not told the place is told only what is wrong."""
    before, colon, after = message.partition(": ")
    return after if colon and ("/" in before or "\\" in before) else message
