"""A scan of 2 × 2 fields, a server, and visitors of every kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fastapi.testclient import TestClient

from parfocal.review.accounts import accounts
from parfocal.review.accounts.roles import Role
from parfocal.review.app import make_app
from parfocal.review.instrument.bench import OpenBench
from parfocal.review.settings import ServeSettings
from parfocal.review.web.services import Services
from parfocal.slide.fields.records import FieldRecord, FieldsHeader
from parfocal.slide.fields.writer import FieldsWriter

HERE = "http://127.0.0.1"
PASSWORD = "a good long password"
SECRET_NAME = "doe-jane-1951"
HEIGHT, WIDTH, STEP_X, STEP_Y, PIXEL_UM = 240, 320, 256, 192, 0.345


def write_scan(path: Path, slide_id: str = "", scan_id: str = "") -> None:
    """2 × 2 fields, cut from one picture; one is unsure."""
    noise = np.random.default_rng(1).normal(0, 1, (HEIGHT + STEP_Y, WIDTH + STEP_X, 3))
    picture = np.clip(150 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)
    header = FieldsHeader(
        version="0.1.0",
        seed=1,
        microscope="small",
        specimen="blood-smear",
        pixel_size_um=PIXEL_UM,
        frame_shape=(HEIGHT, WIDTH),
        magnification=20,
        na=0.75,
        immersion_index=1.0,
        depth_of_field_um=1.21,
        rows=2,
        columns=2,
        overlap=0.2,
        slide_id=slide_id,
        scan_id=scan_id,
    )
    with FieldsWriter(path, header) as writer:
        for index, (row, column) in enumerate(((0, 0), (0, 1), (1, 1), (1, 0))):
            x, y = column * STEP_X, row * STEP_Y
            centre_um = ((x + WIDTH / 2) * PIXEL_UM, (y + HEIGHT / 2) * PIXEL_UM)
            verdict = "unsure" if index == 3 else "focused"
            focus = {"focus_um": 1.0 + index, "focus_sd_um": 0.1}
            record = FieldRecord(index, row, column, *centre_um, 0.5, verdict, 2, focus=focus)
            writer.put(record, picture[y : y + HEIGHT, x : x + WIDTH])


OPENED: list[Server] = []
"""Whose connections to a database are let go of after each test: PostgreSQL takes a hundred."""


@dataclass
class Server:
    """An application, and browsers of it."""

    settings: ServeSettings
    open_bench: OpenBench | None = None

    def __post_init__(self) -> None:
        self.app = make_app(self.settings, self.open_bench)
        self.services: Services = self.app.state.services
        OPENED.append(self)

    def browser(self, base_url: str = HERE, **headers: str) -> TestClient:
        """A browser that nobody knows."""
        return TestClient(self.app, base_url=base_url, headers=headers, follow_redirects=False)

    def add(self, name: str, role: Role = Role.ADMIN) -> None:
        with self.services.database.writing() as session:
            accounts.add(session, name, role, PASSWORD, by="test")
        self.app.state.visitors.forget()

    def signed_in(self, name: str, role: Role = Role.READER) -> TestClient:
        """The browser of a new account."""
        self.add(name, role)
        browser = self.browser()
        answer = post(browser, "/sign-in", "/sign-in", name=name, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        browser.headers["x-form-token"] = browser.get("/api/session").json()["form_token"]
        return browser

    def local(self) -> TestClient:
        """Whoever sits at a computer without accounts."""
        browser = self.browser()
        browser.headers["x-form-token"] = browser.get("/api/session").json()["form_token"]
        return browser

    def restarted(self) -> Server:
        """Another process over the same database."""
        return Server(self.settings)


def token_on(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


def post(browser: TestClient, page: str, path: str, **fields: str):
    """Send the form that stands on a page."""
    return browser.post(path, data={"form_token": token_on(browser.get(page).text), **fields})


def routes_of(router):
    """All routes, those of included routers too."""
    for route in router.routes:
        included = getattr(route, "original_router", None)
        yield from (route,) if included is None else routes_of(included)
