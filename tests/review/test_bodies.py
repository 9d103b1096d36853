"""A body of any size from anybody must not fill the memory."""

import pytest

from parfocal.review.web.bodies import MOST_BYTES

PIECE = b"1," * 2**18


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_no_more_of_a_body_is_read_than_anything_here_needs(server, slide_id, kind):
    server.add("root")
    path = f"/api/slides/{slide_id}/annotations" if "json" in kind else "/sign-in"
    answer = server.browser().post(path, content=b" " * (MOST_BYTES + 1), headers={"content-type": kind})
    assert answer.status_code == 413
    assert "larger than 2 MiB" in answer.text
    answer = server.browser().post(path, content=iter([PIECE] * 20), headers={"content-type": kind})  # no length
    assert answer.status_code == 413
    within = server.browser().post(path, content=b" " * MOST_BYTES, headers={"content-type": kind})
    assert within.status_code in (400, 403, 422)
