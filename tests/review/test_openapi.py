"""Whatever is sent to the HTTP interface, the server does not fall over: schemathesis over all of OpenAPI."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from reviewing import HERE, Server

from parfocal import api
from parfocal.cli.bench import bench_opener
from parfocal.errors import ScanStoppedError
from parfocal.review.settings import ServeSettings

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis (the dev extra)")

pytestmark = pytest.mark.slow

EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture
def server(slides, tmp_path, database_url, small_toml, monkeypatch):
    def scan(*_given, **_named):
        raise ScanStoppedError("not in this test")

    monkeypatch.setattr(api, "scan", scan)
    monkeypatch.setattr(api, "rescan", scan)
    shutil.copytree(slides, tmp_path / "slides")
    opened = Server(ServeSettings(str(tmp_path / "slides"), database_url), bench_opener(small_toml(), None))
    yield opened
    opened.services.desk.close()


def test_nothing_that_is_sent_makes_the_server_fail(server):
    schema = schemathesis.openapi.from_asgi("/openapi.json", server.app, headers={"host": "127.0.0.1"})
    headers = {"host": "127.0.0.1", "x-form-token": server.local().headers["x-form-token"]}
    known = server.services.shelf.slides()[0].id
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()

        @EXAMPLES
        @given(case=operation.as_strategy())
        def check(case):
            if "slide_id" in (case.path_parameters or {}) and len(asked) % 2:
                case.path_parameters["slide_id"] = known  # or most would end at a slide that is not there
            answer = case.call(base_url=HERE, headers=headers)
            asked.append((case.method, case.path, answer.status_code))
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)

        check()
    assert len({path for _, path, _ in asked}) == len(server.app.openapi()["paths"])
    assert sum(status < 300 for _, _, status in asked) > len(asked) / 10
