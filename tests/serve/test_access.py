"""Who may ask: the key and its cookie, the host, the page's own requests; everybody else is refused in one line."""

import pytest

from tests.serve.served import KEY, make_scans

WITH_COOKIE = {"Cookie": f"segfocal_1527={KEY}"}


@pytest.fixture
def stranger(make_client, tmp_path):
    make_scans(tmp_path)
    return make_client(headers={})


def test_health_is_open(stranger):
    assert stranger.get("/healthz").json() == {"status": "ok"}


def test_everything_else_asks_for_the_key(stranger):
    for path in ("/", "/page/index.html", "/api/about", "/api/scans", "/api/sessions", "/nothing"):
        told = stranger.get(path)
        assert told.status_code == 401
        assert "expected the token" in told.json()["error"]
        assert KEY not in told.text


def test_the_address_with_the_key_gives_a_cookie_and_goes_out_of_the_history(stranger):
    told = stranger.get(f"/?token={KEY}")
    assert (told.status_code, told.headers["location"]) == (303, "/")
    cookie = told.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert stranger.get("/api/about").status_code == 200  # the client keeps the cookie


def test_another_key_opens_nothing(stranger):
    for token in ("", "x", KEY[:-1], KEY + "x", "%00", "é"):
        assert stranger.get(f"/?token={token}").status_code == 401
        for scheme in ("Bearer", "Basic"):
            shown = {"Authorization": f"{scheme} {token}".encode()}
            assert stranger.get("/api/about", headers=shown).status_code == 401
        assert stranger.get("/api/about", headers={"Cookie": f"segfocal_1527={token}".encode()}).status_code == 401


def test_with_the_cookie_a_change_needs_the_pages_header(stranger):
    assert stranger.post("/api/sessions", json={"scan": "x"}, headers=WITH_COOKIE).status_code == 403
    told = stranger.post("/api/sessions", json={"scan": "x"}, headers={**WITH_COOKIE, "X-Segfocal": "1"})
    assert told.status_code == 404


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example:1527"},
    {"Host": ""},
]


def test_requests_of_other_sites_are_refused_whatever_they_hold(client):
    for headers in FOREIGN:
        for told in (client.get("/api/about", headers=headers), client.post("/api/scans", headers=headers)):
            assert told.status_code == 403, headers
            assert len(told.json()["error"].splitlines()) == 1


def test_this_machine_may_be_called_by_any_of_its_names(client):
    for host in ("127.0.0.1:1527", "localhost:8000", "LOCALHOST", "[::1]:1527"):
        assert client.get("/api/about", headers={"Host": host}).status_code == 200
        own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert client.get("/api/about", headers=own).status_code == 200


def test_a_link_leads_to_the_page_from_anywhere_but_to_nothing_else(stranger):
    led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert stranger.get(f"/?token={KEY}", headers=led).status_code == 303
    assert stranger.get("/api/about", headers={**WITH_COOKIE, **led}).status_code == 403
