"""The addresses of the page, asked as a browser would."""

import re
import threading
from pathlib import Path

import pytest
import served
from starlette.testclient import TestClient

from vmr.errors import VideoError
from vmr.serve import app
from vmr.serve.app import build_app
from vmr.serve.guard import access_for


def answered(client, video, query="a person opens the door"):
    """The answer, features made first if need be."""
    response = client.post("/api/ask", json={"video": video, "query": query})
    while response.status_code == 202:
        assert served.ended(client, response.json()["job"]["id"])["state"] == "done"
        response = client.post("/api/ask", json={"video": video, "query": query})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_page_loads_only_what_is_ours(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    names = [path.name for path in (Path(app.__file__).parent / "static").iterdir()]
    assert {"index.html", "style.css", "page.js"} <= set(names)
    for name in names:
        text = client.get(f"/static/{name}")
        assert text.status_code == 200
        # The name space of SVG is the only address, and not fetched.
        assert not re.search(r"https?:|url\(|@import|innerHTML", text.text.replace("http://www.w3.org/2000/svg", ""))


def test_videos_are_listed_without_their_paths(client, folder):
    listed = client.get("/api/videos").json()
    assert [video["name"] for video in listed["videos"]] == ["broken.mp4", "kitchen.mp4", "sub/Garden Door.webm"]
    assert str(folder) not in client.get("/api/videos").text
    found = client.get("/api/videos", params={"search": "door GARDEN"}).json()
    assert [video["name"] for video in found["videos"]] == ["sub/Garden Door.webm"]
    assert found["total"] == 1


def test_a_video_can_be_had_in_pieces(client, ids, clip):
    content = clip.read_bytes()
    whole = client.get(f"/media/{ids['kitchen.mp4']}")
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, content, "bytes")
    assert whole.headers["content-type"] == "video/mp4"
    piece = client.get(f"/media/{ids['kitchen.mp4']}", headers={"range": "bytes=100-199"})
    assert (piece.status_code, piece.content) == (206, content[100:200])
    assert piece.headers["content-range"] == f"bytes 100-199/{len(content)}"
    rest = client.get(f"/media/{ids['kitchen.mp4']}", headers={"range": "bytes=-50"})
    assert (rest.status_code, rest.content) == (206, content[-50:])
    beyond = client.get(f"/media/{ids['kitchen.mp4']}", headers={"range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416


@pytest.mark.parametrize(
    "path", ["../secret.mp4", "..%2fsecret.mp4", "%2e%2e/secret.mp4", "secret.mp4", "kitchen.mp4", "0" * 24]
)
def test_names_never_become_paths(client, path):
    for address in (f"/media/{path}", f"/static/{path}", f"/api/videos/{path}"):
        assert client.get(address).status_code == 404
    assert client.post("/api/ask", json={"video": path, "query": "a door"}).status_code == 404


def test_an_answer_has_moments_and_curves(client, page, ids):
    answer = answered(client, ids["kitchen.mp4"])
    assert answer["query"] == "a person opens the door"
    assert answer["video"] == "kitchen.mp4"
    assert answer["duration_sec"] == served.STEPS / 2
    assert 1 <= len(answer["moments"]) <= 5
    for moment in answer["moments"]:
        assert 0 <= moment["start_sec"] < moment["end_sec"] <= answer["duration_sec"]
    assert [len(answer["curve"][name]) for name in ("start_sec", "end_sec", "start", "end", "inside")] == [6] * 5
    assert sum(answer["curve"]["start"]) == pytest.approx(1, abs=1e-3)
    again = client.post("/api/ask", json={"video": ids["kitchen.mp4"], "query": "the timer zyx runs", "top": 1})
    assert again.status_code == 200
    assert again.json()["unknown_words"] == ["zyx"]
    assert len(again.json()["moments"]) == 1
    assert len(page.quick.made) == 1


def test_the_answer_is_that_of_the_locator(client, page, ids, folder):
    answer = answered(client, ids["kitchen.mp4"])
    direct = page.locator.locate(folder / "kitchen.mp4", "a person opens the door", top=5)
    assert answer["moments"] == direct.plain()["moments"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "JSON"),
        (b"[" * 60_000, 400, "JSON"),
        (b'"text"', 400, "JSON"),
        (b'{"query": "' + b"a" * 70_000 + b'"}', 413, "too long"),
        (b'{"video": "ID", "query": "   "}', 422, "Say in a sentence"),
        (b'{"video": "ID", "query": 7}', 422, "Say in a sentence"),
        (b'{"video": "ID", "query": "' + b"a " * 60 + b'"}', 422, "up to 80"),
        (b'{"video": "ID", "query": "a door", "top": 1000}', 422, "1 to 20"),
        (b'{"video": ["ID"], "query": "a door"}', 404, "no longer there"),
        (b'{"video": "ID", "query": "zyx qwv"}', 422, "no word of the query"),
        (b'{"video": "ID", "query": "\\ud800 zyx"}', 422, "no word of the query"),
    ],
)
def test_bad_questions_get_a_sentence(client, ids, body, status, words):
    answered(client, ids["kitchen.mp4"])
    response = client.post("/api/ask", content=body.replace(b"ID", ids["kitchen.mp4"].encode()))
    assert response.status_code == status
    assert words in response.json()["error"]


def test_a_question_that_nobody_can_answer_makes_no_features(client, page, ids):
    response = client.post("/api/ask", json={"video": ids["kitchen.mp4"], "query": "zyx qwv"})
    assert response.status_code == 422 and "no word of the query" in response.json()["error"]
    assert page.quick.made == []


def test_a_broken_video_gives_its_reason_and_no_path(client, ids, folder):
    job = client.post("/api/ask", json={"video": ids["broken.mp4"], "query": "a door"}).json()["job"]
    state = served.ended(client, job["id"])
    assert state["state"] == "failed"
    assert state["error"] == "broken.mp4: moov atom not found. Try another file."
    facts = client.get(f"/api/videos/{ids['broken.mp4']}").json()
    assert facts["reason"]
    assert str(folder) not in facts["reason"]


def test_errors_about_a_video_name_no_path(client, page, ids, folder, monkeypatch):
    def gone(path):
        raise VideoError(f"{path}: cannot be read (/var/cache/some/notes.json is locked). Name a video file.")

    monkeypatch.setattr(page.locator, "at_hand", gone)
    for address in ("/api/ask", f"/api/videos/{ids['kitchen.mp4']}/features"):
        response = client.post(address, json={"video": ids["kitchen.mp4"], "query": "a door"})
        assert response.status_code == 422
        assert response.json()["error"] == "kitchen.mp4: cannot be read (notes.json is locked). Name a video file."


def test_a_bug_shows_no_traceback(client, ids, page, folder, monkeypatch):
    (folder / "broken.mp4").write_bytes(b"bug")
    job = client.post("/api/ask", json={"video": ids["broken.mp4"], "query": "a door"}).json()["job"]
    assert (
        served.ended(client, job["id"])["error"]
        == "broken.mp4: something went wrong here; the server's log has the reason."
    )
    monkeypatch.setattr(page.folder, "all", lambda: 1 / 0)
    response = client.get("/api/videos")
    assert response.status_code == 500
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert response.json()["error"].startswith("Something went wrong")
    assert "Zero" not in response.text


def test_a_slow_video_holds_up_nobody(client, page, ids):
    answered(client, ids["kitchen.mp4"])
    page.quick.gate.clear()
    slow = client.post("/api/ask", json={"video": ids["sub/Garden Door.webm"], "query": "a door"}).json()["job"]
    assert page.quick.entered.wait(60)
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(answered(client, ids["kitchen.mp4"]))) for _ in range(8)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert len(answers) == 8
    assert client.get(f"/media/{ids['kitchen.mp4']}").status_code == 200
    assert client.get(f"/api/jobs/{slow['id']}").json()["state"] == "running"
    page.quick.gate.set()
    assert served.ended(client, slow["id"])["state"] == "done"


def test_two_pages_share_the_work_on_a_video(client, page, ids):
    page.quick.gate.clear()
    ask = {"video": ids["kitchen.mp4"], "query": "a door"}
    one, two = (client.post("/api/ask", json=ask).json()["job"] for _ in range(2))
    assert one["id"] == two["id"]
    client.delete(f"/api/jobs/{one['id']}")
    assert client.get(f"/api/jobs/{one['id']}").json()["state"] in ("waiting", "running")
    client.delete(f"/api/jobs/{one['id']}")
    assert served.ended(client, one["id"])["state"] == "stopped"
    assert page.quick.made == []


def test_a_full_queue_says_when_to_come_back(client, page, folder):
    page.quick.gate.clear()
    for number in range(4):
        (folder / f"more{number}.mp4").write_bytes(b"more %d" % number)
    page.folder._scan_at = 0.0
    videos = client.get("/api/videos", params={"search": "more"}).json()["videos"]
    asked = []
    for video in videos:
        asked.append(client.post("/api/ask", json={"video": video["id"], "query": "a door"}))
        assert page.quick.entered.wait(60)  # the first one is taken off the queue
    assert [response.status_code for response in asked] == [202, 202, 202, 503]
    assert asked[2].json()["job"]["before"] == 2
    assert asked[3].headers["retry-after"] == "60"
    assert "2 videos are waiting" in asked[3].json()["error"]
    assert client.delete(f"/api/jobs/{asked[2].json()['job']['id']}").status_code == 200
    assert client.post("/api/ask", json={"video": videos[3]["id"], "query": "a door"}).status_code == 202


def test_too_many_questions_are_refused_with_a_time(client, page, ids):
    answered(client, ids["kitchen.mp4"])
    page.answering._most = 0
    response = client.post("/api/ask", json={"video": ids["kitchen.mp4"], "query": "a door"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


def test_given_features_answer_and_take_no_uploads(monkeypatch, page, ids, clip):
    monkeypatch.setattr(type(page.locator), "makes_features", property(lambda self: False))
    with TestClient(build_app(page, access_for("127.0.0.1", port=1, token=None)), "http://localhost") as client:
        assert client.get("/api/info").json()["uploads"] is False
        assert client.post("/api/videos?name=a.mp4", content=clip.read_bytes()).status_code == 403


def test_a_moment_is_cut_out_as_a_file_of_its_own(client, page, ids):
    cut = client.get(f"/api/videos/{ids['kitchen.mp4']}/moment?start=0.2&end=0.6")
    assert cut.status_code == 200 and cut.headers["content-type"] == "video/mp4" and cut.content[4:8] == b"ftyp"
    assert 'filename="kitchen_0.2-0.6.mp4"' in cut.headers["content-disposition"]
    for wrong in ("start=2&end=1", "start=a&end=1", "end=1", "start=-1&end=1", "start=0&end=inf", "start=0&end=3.1"):
        assert client.get(f"/api/videos/{ids['kitchen.mp4']}/moment?{wrong}").status_code == 422  # 0.05 minutes at most
    assert client.get("/api/videos/none/moment?start=0&end=1").status_code == 404
    broken = client.get(f"/api/videos/{ids['broken.mp4']}/moment?start=0&end=1")
    assert broken.status_code == 422 and broken.json()["error"].startswith("broken.mp4: ")
    page.cutting._most = 0
    full = client.get(f"/api/videos/{ids['kitchen.mp4']}/moment?start=0&end=1")
    assert (full.status_code, full.headers["retry-after"]) == (503, "30")
    assert list(page.uploads.folder.glob("moment*")) == []


def test_sentences_to_try_are_those_of_the_method(client, page, monkeypatch):
    assert client.get("/api/info").json()["examples"] == []
    monkeypatch.setattr(page.locator, "examples", ("a dog runs",), raising=False)
    assert client.get("/api/info").json()["examples"] == ["a dog runs"]
