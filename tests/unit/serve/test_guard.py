"""Who may ask."""

import pytest
from starlette.testclient import TestClient

from vmr.serve.app import build_app
from vmr.serve.guard import access_for, host_name

TOKEN = "correct-horse-battery"


@pytest.fixture
def guarded(page):
    """A browser on another machine, before it has shown the token."""
    access = access_for("0.0.0.0", port=8000, token=TOKEN, names=["films.example"])
    with TestClient(build_app(page, access), "http://192.168.1.5:8000", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "a b", "x@localhost"]
)
def test_other_names_are_refused(client, guarded, host):
    for each in (client, guarded):
        response = each.get("/api/videos", headers={"host": host})
        assert response.status_code == 421
        assert "--allow-host" in response.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8000"])
def test_own_names_are_served(client, host):
    assert client.get("/api/videos", headers={"host": host}).status_code == 200


def test_by_address_only_where_it_listens_to_others(client, guarded):
    assert client.get("/api/videos", headers={"host": "192.168.1.5"}).status_code == 421
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for host in ("192.168.1.5", "films.example:8000"):
        assert guarded.get("/api/videos", headers={"host": host, **bearer}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:8000"}, 404),
        ({}, 404),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[evil"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_the_own_page_may_change_things(client, headers, status):
    assert client.post("/api/ask", json={"video": "none", "query": "a door"}, headers=headers).status_code == status
    assert client.delete("/api/videos/none", headers=headers).status_code == status


def test_without_the_token_nothing_is_served(guarded):
    for address in ("/", "/?token=", "/?token=wrong", "/static/page.js", "/media/x", "/api/info", "/nowhere"):
        response = guarded.get(address)
        assert response.status_code == 401
        assert "vmr serve" in response.text
    assert guarded.post("/api/ask", json={}).status_code == 401
    for wrong in (f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer \u00e9"):
        assert guarded.get("/api/info", headers={"authorization": wrong.encode()}).status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    response = guarded.get("/", params={"token": TOKEN})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get("/api/videos").status_code == 200
    guarded.cookies.clear()
    assert guarded.get("/api/videos").status_code == 401
    assert guarded.get("/api/videos", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/api/videos", params={"token": TOKEN}).status_code == 401


def test_the_words_of_a_refusal_are_ours(client):
    text = client.get("/<script>", headers={"host": "<script>alert(1)</script>"}).text
    assert "script" not in text


@pytest.mark.parametrize("host", ["[::1", "a:b:c]", "h\\x", "h/x", "h?x", "h#x"])
def test_hosts_that_are_none(host):
    assert host_name(host) is None or host_name(host) not in ("localhost", "::1")
