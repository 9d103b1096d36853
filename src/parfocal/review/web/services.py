"""What every request has at hand."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from parfocal.review.database.connection import Database
from parfocal.review.database.tables import Setting
from parfocal.review.instrument.desk import InstrumentDesk
from parfocal.review.settings import ServeSettings
from parfocal.review.sheets.frames import FieldFrames
from parfocal.review.sheets.whole import WholeSlides
from parfocal.review.shelf.shelf import Shelf
from parfocal.review.shelf.stacks import StackShelf
from parfocal.review.studies.results import Agreements
from parfocal.review.studies.withheld import Withheld

_SECRET = "form-secret"


@dataclass(frozen=True)
class Services:
    """What a running server holds.

    Attributes:
        settings: how it was started.
        database: accounts, trail and everybody's work.
        shelf: the slides.
        secret: signs forms, over restarts.
        stacks: focal stacks; None where slides come from a URL.
        desk: the microscope; None where there is none.
    """

    settings: ServeSettings
    database: Database
    shelf: Shelf
    secret: bytes
    stacks: StackShelf | None = None
    desk: InstrumentDesk | None = None

    @cached_property
    def frames(self) -> FieldFrames:
        """Single fields of slides, as readers see them."""
        return FieldFrames(self.shelf, int(self.settings.cache_mb * 2**20) // 4)

    @cached_property
    def wholes(self) -> WholeSlides:
        """Whole slides, as readers see them."""
        return WholeSlides(self.shelf, int(self.settings.cache_mb * 2**20) // 4)

    @cached_property
    def agreements(self) -> Agreements:
        """Figures of closed studies."""
        return Agreements()

    @cached_property
    def withheld(self) -> Withheld:
        """Slides that readers of running studies must not look at elsewhere."""
        return Withheld(self.database)

    def form_token(self, key: str) -> str:
        """What a form must bring back to be taken for one of ours, for somebody's browser."""
        return hmac.new(self.secret, key.encode(), hashlib.sha256).hexdigest()


def form_secret(database: Database) -> bytes:
    """The kept secret; made by the first server."""
    with database.writing() as session:
        row = session.get(Setting, _SECRET)
        if row is None:
            row = Setting(name=_SECRET, value=secrets.token_hex(32))
            session.add(row)
        return row.value.encode()


def services_of(request: Request) -> Services:
    """Of the application that a request came to."""
    found: Services = request.app.state.services
    return found


WithServices = Annotated[Services, Depends(services_of)]
