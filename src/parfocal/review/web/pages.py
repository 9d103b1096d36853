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
from parfocal.review.web.services import Services, services_of
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
        needs_desk: whether it is shown only where there is a microscope.
    """

    title: str
    path: str
    right: Right
    needs_desk: bool = False


DOORS = [
    Door("Slides", "/", Right.BROWSE),
    Door("Studies", "/studies", Right.BROWSE),
    Door("Reports", "/reports", Right.BROWSE),
    Door("Instrument", "/instrument", Right.OPERATE, needs_desk=True),
    Door("Labelling", "/labelling", Right.OPERATE),
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
        doors=_doors(services, visitor),
        here=request.url.path,
        form_token=services.form_token(visitor.key if visitor else "nobody"),
        form_field=FORM_FIELD,
        version=__version__,
        has_viewer=VIEWER_SCRIPT.is_file(),
        **values,
    )
    return HTMLResponse(html, status)


def _doors(services: Services, visitor: Visitor | None) -> list[Door]:
    if visitor is None or visitor.must_change:
        return []
    return [door for door in DOORS if visitor.may(door.right) and (services.desk or not door.needs_desk)]
