"""Signing in, who may do what, and the trail of it."""

import datetime
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from reviewing import HERE, PASSWORD, post, routes_of, token_on
from sqlalchemy import select

from parfocal.errors import SettingsError
from parfocal.review.accounts import accounts
from parfocal.review.accounts.accounts import SessionLimits
from parfocal.review.accounts.roles import Right, Role
from parfocal.review.database.tables import Account, SignIn, TrailEntry
from parfocal.review.web.guards import meant


def actions(server):
    with server.services.database.reading() as session:
        return [(entry.who, entry.action, entry.subject) for entry in session.scalars(select(TrailEntry))]


def test_without_accounts_whoever_sits_at_this_computer_may_do_everything(server):
    browser = server.browser()
    assert browser.get("/api/session").json()["role"] == "admin"
    assert "On this computer, no sign-in" in browser.get("/").text


@pytest.mark.parametrize("host", ["http://attacker.example", "http://127.0.0.1.attacker.example", "http://192.168.0.5"])
def test_a_name_of_somebody_else_that_leads_to_this_computer_does_not_count_as_local(server, host):
    assert server.browser(host).get("/api/session").status_code == 401


def test_a_request_that_a_proxy_forwards_does_not_count_as_local(server):
    assert server.browser(**{"x-forwarded-for": "203.0.113.7"}).get("/api/session").status_code == 401


def test_from_the_first_account_on_everybody_has_to_sign_in(server):
    server.add("anna")
    browser = server.browser()
    assert browser.get("/api/slides").status_code == 401
    answer = browser.get("/trail", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/trail")


def test_signing_in_leads_to_where_one_wanted_to_go_and_signing_out_ends_it(server):
    server.add("anna")
    browser = server.browser()
    answer = post(browser, "/sign-in?next=/trail", "/sign-in", name="anna", password=PASSWORD, next="/trail")
    assert (answer.status_code, answer.headers["location"]) == (303, "/trail")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.get("/trail").status_code == 200
    kept = dict(browser.cookies)
    post(browser, "/", "/sign-out")
    assert server.browser().get("/trail", cookies=kept).status_code == 401


@pytest.mark.parametrize("path", ["https://attacker.example/", "//attacker.example", "/\\attacker.example", "sign-in"])
def test_signing_in_never_leads_to_another_server(server, path):
    server.add("anna")
    answer = post(server.browser(), "/sign-in", "/sign-in", name="anna", password=PASSWORD, next=path)
    assert answer.headers["location"] == "/"


def test_the_cookie_is_kept_nowhere_and_the_password_only_as_a_hash(server):
    browser = server.signed_in("anna", Role.ADMIN)
    with server.services.database.reading() as session:
        kept = session.scalar(select(SignIn.token_hash))
        assert session.scalar(select(Account.password)).startswith("$argon2id$")
    assert kept == accounts.hash_token(browser.cookies["parfocal"]) != browser.cookies["parfocal"]


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("nobody", PASSWORD), ("", ""), ("anna\x00", "x")])
def test_a_wrong_name_or_password_is_refused_and_written_down(server, name, password):
    server.add("anna")
    answer = post(server.browser(), "/sign-in", "/sign-in", name=name or " ", password=password or " ")
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text
    assert [action for _, action, _ in actions(server)].count("sign-in refused") == 1


def test_after_five_refusals_even_the_right_password_has_to_wait(server):
    server.add("anna")
    browser = server.browser()
    for _ in range(5):
        assert post(browser, "/sign-in", "/sign-in", name="anna", password="wrong").status_code == 401
    answer = post(server.restarted().browser(), "/sign-in", "/sign-in", name="anna", password=PASSWORD)
    assert answer.status_code == 429
    assert "wait 10 minutes" in answer.text


def test_attempts_at_once_are_counted_before_they_are_refused_and_hashed_a_few_at_a_time(server, monkeypatch):
    server.add("anna")
    under_way, most_under_way, tried = 0, 0, []

    def slowly(password, _kept):
        nonlocal under_way, most_under_way
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        time.sleep(0.02)
        under_way -= 1
        tried.append(password)
        return False

    def attempt(number):
        try:
            return accounts.sign_in(server.services.database, "anna", f"guess {number}", "10.0.0.7")
        except accounts.TooManyAttempts:
            return "refused"

    monkeypatch.setattr(accounts, "is_password", slowly)
    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(attempt, range(15)))
    assert len(tried) == answers.count(None) <= 5
    assert most_under_way <= 3


def test_what_comes_from_this_computer_is_limited_by_name_alone(server, monkeypatch):
    """Behind a proxy that names no address all come from it: anybody could lock everybody out."""
    monkeypatch.setattr(accounts, "_MOST_FOR_ADDRESS", 2)
    server.add("anna")
    for address, last in (("127.0.0.1", "token"), ("10.0.0.7", "refused")):
        for number in range(2):
            assert accounts.sign_in(server.services.database, f"made up {number} {address}", "wrong", address) is None
        try:
            answer = "token" if accounts.sign_in(server.services.database, "anna", PASSWORD, address) else "wrong"
        except accounts.TooManyAttempts:
            answer = "refused"
        assert answer == last


@pytest.mark.parametrize(
    ("peer", "changes", "forwarded", "address"),
    [
        ("127.0.0.1", {"behind_https": True}, ["6.6.6.6, 10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", {"behind_https": True}, ["6.6.6.6", "10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", {"behind_https": True}, ["not an address"], "127.0.0.1"),
        ("127.0.0.1", {"behind_https": True}, [], "127.0.0.1"),
        ("127.0.0.1", {}, ["10.0.0.7"], "127.0.0.1"),
        ("10.0.0.9", {"behind_https": True}, ["10.0.0.7"], "10.0.0.9"),
    ],
)
def test_the_trail_tells_the_address_that_the_proxy_here_names(server, serve, peer, changes, forwarded, address):
    server.add("anna")
    behind = serve(**changes)
    browser = TestClient(behind.app, base_url=HERE, follow_redirects=False, client=(peer, 50000))
    browser.headers = [("host", "127.0.0.1"), *(("x-forwarded-for", one) for one in forwarded)]
    post(browser, "/sign-in", "/sign-in", name="anna", password="wrong")
    with server.services.database.reading() as session:
        assert session.scalars(select(TrailEntry).order_by(TrailEntry.id)).all()[-1].address == address


def test_behind_https_somebody_has_to_sign_in(serve):
    """What nginx hands on by default looks like this computer's own: everybody would be admin."""
    with pytest.raises(SettingsError, match="set up an account first"):
        serve(behind_https=True)


@pytest.mark.parametrize("column", ["created_at", "seen_at"])
def test_a_session_ends_by_itself(serve, column):
    server = serve(sessions=SessionLimits(hours=2, idle_hours=2))
    browser = server.signed_in("anna", Role.ADMIN)
    assert browser.get("/api/session").status_code == 200
    with server.services.database.writing() as session:
        row = session.scalar(select(SignIn))
        setattr(row, column, getattr(row, column) - datetime.timedelta(hours=2.1))
    assert server.restarted().browser().get("/api/session", cookies=dict(browser.cookies)).status_code == 401


def test_a_session_outlives_a_restart_of_the_server(server):
    browser = server.signed_in("anna", Role.ADMIN)
    again = server.restarted().browser()
    assert again.get("/api/session", cookies=dict(browser.cookies)).json()["name"] == "anna"


def test_a_made_up_password_has_to_be_changed_first(server):
    server.add("root")
    with server.services.database.writing() as session:
        made_up = accounts.add(session, "raj", Role.READER, by="root")
    browser = server.browser()
    post(browser, "/sign-in", "/sign-in", name="raj", password=made_up)
    answer = browser.get("/", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert browser.get("/api/slides").status_code == 403
    new = {"new": PASSWORD, "again": PASSWORD}
    assert post(browser, "/account", "/account/password", old="wrong", **new).status_code == 422
    assert post(browser, "/account", "/account/password", old=made_up, new="short", again="short").status_code == 422
    assert post(browser, "/account", "/account/password", old=made_up, **new).status_code == 303
    fresh = server.browser()
    assert post(fresh, "/sign-in", "/sign-in", name="raj", password=PASSWORD).status_code == 303
    assert fresh.get("/api/slides").status_code == 200


def test_a_made_up_password_of_an_admin_opens_no_accounts_either(server):
    server.add("root")
    with server.services.database.writing() as session:
        made_up = accounts.add(session, "anna", Role.ADMIN, by="root")
    browser = server.browser()
    post(browser, "/sign-in", "/sign-in", name="anna", password=made_up)
    token = token_on(browser.get("/account").text)
    assert browser.get("/accounts").status_code == 403
    answer = browser.post("/accounts", data={"form_token": token, "name": "eve", "role": "admin"})
    assert answer.status_code == 403
    assert browser.post("/accounts/root/disable", data={"form_token": token}).status_code == 403
    assert browser.post("/sign-out", data={"form_token": token}).status_code == 303


def test_an_admin_makes_disables_and_enables_accounts(server):
    browser = server.signed_in("root", Role.ADMIN)
    page = post(browser, "/accounts", "/accounts", name="raj", role="reader").text
    assert "shown\nthis once" in page
    assert post(browser, "/accounts", "/accounts", name="raj", role="reader").status_code == 422
    assert post(browser, "/accounts", "/accounts", name="<b>", role="reader").status_code == 422
    assert post(browser, "/accounts", "/accounts", name="mia", role="king").status_code == 422
    assert "disabled" in post(browser, "/accounts", "/accounts/raj/disable").text
    post(browser, "/accounts", "/accounts/raj/enable")
    assert post(browser, "/accounts", "/accounts/nobody/disable").status_code == 404
    assert ("root", "account disabled", "raj") in actions(server)


def test_a_disabled_account_is_out_at_once(server):
    root, raj = server.signed_in("root", Role.ADMIN), server.signed_in("raj")
    assert raj.get("/api/slides").status_code == 200
    post(root, "/accounts", "/accounts/raj/disable")
    assert raj.get("/api/slides").status_code == 401


def test_the_last_admin_cannot_be_disabled(server):
    root = server.signed_in("root", Role.ADMIN)
    answer = post(root, "/accounts", "/accounts/root/disable")
    assert answer.status_code == 422
    assert "last admin" in answer.text


@pytest.mark.parametrize("role", [Role.READER, Role.OPERATOR, Role.LEAD])
def test_only_an_admin_sees_accounts_and_trail_and_who_tries_is_written_down(server, role):
    browser = server.signed_in("raj", role)
    for path in ("/accounts", "/trail"):
        assert browser.get(path).status_code == 403
        assert ("raj", "refused", path) in actions(server)
    own_token = browser.headers["x-form-token"]
    answer = browser.post("/accounts", data={"form_token": own_token, "name": "eve", "role": "admin"})
    assert answer.status_code == 403


@pytest.mark.parametrize("before", ["99999999999999999999", "0", "x"])
def test_a_place_in_the_trail_that_there_cannot_be_is_refused(server, before):
    assert server.local().get(f"/trail?before={before}").status_code == 422


def test_every_right_belongs_to_somebody_and_all_to_the_admin():
    assert Role.ADMIN.rights == set(Right)
    assert Role.READER.rights == {Right.BROWSE}


def test_a_proxy_signs_in_whom_it_names_and_nobody_else(serve):
    server = serve(proxy_header="x-remote-user")
    server.add("anna")
    assert server.browser(**{"x-remote-user": "anna"}).get("/api/session").json()["name"] == "anna"
    assert server.browser(**{"x-remote-user": "eve"}).get("/api/session").status_code == 401
    assert server.browser().get("/api/session").status_code == 401


def test_who_a_proxy_names_and_has_no_account_is_told_so_and_asked_for_no_password(serve):
    server = serve(proxy_header="x-remote-user")
    server.add("anna")
    answer = server.browser(**{"x-remote-user": "eve"}).get("/sign-in", headers={"accept": "text/html"})
    assert answer.status_code == 403
    assert "no account here" in answer.text
    assert "password" not in answer.text


def test_a_proxys_header_means_nothing_unless_it_was_set_up(server):
    server.add("anna")
    assert server.browser(**{"x-remote-user": "anna"}).get("/api/session").status_code == 401


def test_other_computers_are_let_in_only_once_there_is_an_account(serve):
    with pytest.raises(SettingsError, match="parfocal account add"):
        serve(host="0.0.0.0")
    serve().add("anna")
    assert serve(host="0.0.0.0").browser("http://192.168.0.5").get("/api/session").status_code == 401
    with pytest.raises(SettingsError, match="reverse proxy"):
        serve(host="0.0.0.0", proxy_header="x-remote-user")


# Forged


def test_a_form_without_its_token_changes_nothing(server):
    browser = server.signed_in("root", Role.ADMIN)
    del browser.headers["x-form-token"]
    before = actions(server)
    for fields in ({}, {"form_token": ""}, {"form_token": "0" * 64}):
        answer = browser.post("/accounts", data={**fields, "name": "eve", "role": "admin"})
        assert answer.status_code == 403
    assert actions(server) == [*before, *[("root", "refused", "/accounts")] * 3]


def test_a_token_is_good_for_one_browser_only(server):
    root, raj = server.signed_in("root", Role.ADMIN), server.signed_in("raj")
    stolen = raj.headers["x-form-token"]
    del root.headers["x-form-token"]
    assert root.post("/accounts", data={"form_token": stolen, "name": "eve", "role": "admin"}).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"origin": "http://attacker.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_another_sites_form_is_refused_even_with_a_token(server, headers):
    browser = server.local()
    token = token_on(browser.get("/accounts").text)
    fields = {"form_token": token, "name": "eve", "role": "admin"}
    assert browser.post("/accounts", data=fields, headers=headers).status_code == 403
    assert browser.post("/accounts", data=fields, headers={"origin": HERE}).status_code == 200


def test_a_proxy_that_hides_the_servers_name_is_told_of(server):
    """As nginx does unless it is told otherwise."""
    server.add("anna")
    headers = {"origin": "https://slides.example.org", "host": "127.0.0.1:8080"}
    answer = server.browser().post("/sign-in", data={"name": "anna", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    for told in ("https://slides.example.org", "127.0.0.1:8080", "header Host"):
        assert told in answer.json()["detail"]


def test_every_route_that_changes_something_looks_for_the_token(server):
    """Pages and interface, and whatever is added to the application later, too."""
    changing = {
        (method, route.path): route.dependant
        for route in routes_of(server.app)
        for method in (getattr(route, "methods", None) or set()) - {"GET", "HEAD", "OPTIONS"}
    }
    assert ("POST", "/sheets/{sheet_id}/submit") in changing
    assert ("POST", "/api/sheets/{sheet_id}/entries") in changing
    assert [route for route, dependant in changing.items() if not depends_on(dependant, meant)] == []


def depends_on(dependant, wanted):
    return dependant.call is wanted or any(depends_on(one, wanted) for one in dependant.dependencies)
