"""Pages from templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from parfocal import __version__
from parfocal.review.accounts.roles import Right
from parfocal.review.web.guards import FORM_FIELD
from parfocal.review.web.services import services_of
from parfocal.review.web.visitors import Visitor

WEB = Path(__file__).parent
VIEWER_SCRIPT = WEB / "vendor" / "openseadragon" / "openseadragon.min.js"


@dataclass(frozen=True)
class Door:
    """An entry of the navigation.

    Attributes:
        title: what it says.
        path: where it leads.
        right: who sees it.
    """

    title: str
    path: str
    right: Right


DOORS = [
    Door("Slides", "/", Right.BROWSE),
    Door("Accounts", "/accounts", Right.ADMINISTER),
    Door("Trail", "/trail", Right.ADMINISTER),
]

_TEMPLATES = Environment(
    loader=FileSystemLoader(WEB / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(
    request: Request, template: str, visitor: Visitor | None, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page.

    Args:
        request: which asked for it.
        template: file in `templates`.
        visitor: who sees it; None for nobody we know.
        status: of HTTP.
        values: for the template.
    """
    services = services_of(request)
    html = _TEMPLATES.get_template(template).render(
        visitor=visitor,
        doors=[door for door in DOORS if visitor and not visitor.must_change and visitor.may(door.right)],
        here=request.url.path,
        form_token=services.form_token(visitor.key if visitor else "nobody"),
        form_field=FORM_FIELD,
        version=__version__,
        has_viewer=VIEWER_SCRIPT.is_file(),
        **values,
    )
    return HTMLResponse(html, status)
