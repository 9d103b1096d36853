"""Whatever is sent to any address, by whomever, the server does not fall over: schemathesis over all of OpenAPI."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reviewing import HERE, Server, post, routes_of
from studying import READERS, Study, write_slides

from parfocal import api
from parfocal.cli.bench import bench_opener
from parfocal.errors import ScanStoppedError
from parfocal.review.accounts.roles import Role
from parfocal.review.settings import ServeSettings

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis (the dev extra)")

ENDLESS = ("/api/instrument/events", "/instrument/live.mjpg")
LAST = ("/studies/{study_id}/close", "/account/password", "/sign-out")  # they end what others need
STUDY_FORM = (
    "name",
    "form",
    "show",
    "reader",
    "glass",
    "fields_per_slide",
    "wash_out_days",
    "repeats",
    "margin",
    "seed",
)


class Everywhere:
    """A server with a running and a closed study, a report and a microscope; who may be signed in, and known ids."""

    def __init__(self, server: Server) -> None:
        self.schema = schema_of(server)
        study = Study(server)
        closed = study.propose(name="Closed").headers["location"]
        post(study.lead, closed, f"{closed}/start")
        for reader in READERS:
            sheet = study.readers[reader].post(f"{closed}/next").headers["location"].rpartition("/")[2]
            study.read(reader, sheet, gnb=3)
        assert post(study.lead, closed, f"{closed}/close", broken_off="yes").status_code == 303
        slides = [slide.id for slide in server.services.shelf.slides()]
        page = f"/slides/{slides[0]}/report"
        begun = post(study.lead, page, page, form="gram", fields="0").headers["location"].rpartition("/")[2]
        study.readers["lena"] = study.lead
        study.enter("lena", begun, what="eyepiece", fields=9, magnification=100, field_number_mm=20)
        report = study.lead.post(f"/sheets/{begun}/submit").headers["location"].rpartition("/")[2]
        self.browsers = {
            "reader": study.readers["raj"],
            "lead": study.lead,
            "operator": server.signed_in("oskar", Role.OPERATOR),
            "admin": server.signed_in("anna", Role.ADMIN),
        }
        self.known = {
            "slide_id": itertools.cycle(slides),
            "study_id": itertools.cycle([study.id, closed.rpartition("/")[2]]),
            "sheet_id": itertools.cycle([study.begin("raj"), begun]),
            "number": itertools.cycle([report, "0"]),
            "version": itertools.cycle(["1"]),
        }


def schema_of(server: Server):
    """OpenAPI of all routes, pages too, which the one for programs leaves out; asked for before anything else is."""
    routes = [route for route in routes_of(server.app) if hasattr(route, "include_in_schema")]
    shown = [(route, route.include_in_schema) for route in routes]
    for route in routes:
        route.include_in_schema = True
    schema = server.app.openapi()
    for route, before in shown:
        route.include_in_schema = before
    server.app.openapi_schema = None
    return schemathesis.openapi.from_dict(schema)


@pytest.fixture
def everywhere(slides, tmp_path, database_url, small_toml, monkeypatch):
    def scan(*_given, **_named):
        raise ScanStoppedError("not in this test")

    for name in ("scan", "rescan", "resume"):
        monkeypatch.setattr(api, name, scan)
    shutil.copytree(slides, tmp_path / "slides")
    write_slides(tmp_path / "slides")
    opened = Server(ServeSettings(str(tmp_path / "slides"), database_url), bench_opener(small_toml(), None))
    yield Everywhere(opened)
    opened.services.desk.close()


@pytest.mark.parametrize(
    "examples", [pytest.param(3, marks=pytest.mark.slow), pytest.param(40, marks=pytest.mark.long)]
)
def test_nothing_that_is_sent_makes_the_server_fail(everywhere, examples):
    bounded = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    turn, asked = itertools.count(), []
    operations = [found.ok() for found in everywhere.schema.get_all_operations()]
    for operation in sorted(operations, key=lambda one: one.path in LAST):
        if operation.path in ENDLESS:
            continue

        @bounded
        @given(case=operation.as_strategy(), typed=st.dictionaries(st.sampled_from(STUDY_FORM), st.text()))
        def check(case, typed):
            number = next(turn)
            if number % 5:  # or most would end at something that is not there
                for name in set(case.path_parameters or {}) & set(everywhere.known):
                    case.path_parameters[name] = next(everywhere.known[name])
            who, browser = list(everywhere.browsers.items())[number % len(everywhere.browsers)]
            sent = case.as_transport_kwargs(base_url=HERE)
            sent["headers"] = {**sent["headers"], "x-form-token": browser.headers["x-form-token"]}
            if (case.method, case.path) == ("POST", "/studies"):
                sent["data"] = typed
            answer = browser.request(**{name: sent[name] for name in sent if name not in ("cookies",)})
            asked.append((who, case.path, answer.status_code))
            assert answer.status_code < 500, (who, case.as_curl_command(), answer.text)

        check()
    assert len(operations) > 60
    assert {path for _, path, _ in asked} == {one.path for one in operations} - set(ENDLESS)
    good = Counter(who for who, _, status in asked if status < 400)
    assert all(good[who] > len(asked) / 30 for who in everywhere.browsers), good
