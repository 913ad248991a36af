"""One question to all videos of the page."""

import time

import pytest
from served import ended

from vmr.locate.folders import search, videos_in
from vmr.serve import searches

QUERY = "a person opens the door"


def ask(client, **others):
    """The search that was begun."""
    response = client.post("/api/search", json={"query": QUERY, **others})
    assert response.status_code == 202, response.text
    return response.json()["job"]["id"]


def test_a_search_is_that_of_the_command(client, page, folder, ids):
    state = ended(client, ask(client, top=4))
    failed = []
    (direct,) = search(
        page.locator,
        videos_in(folder),
        [QUERY],
        top=4,
        progress=lambda video, number: lambda what, done, total: None,
        failed=failed.append,
    )
    found = state["found"]
    names = {id: name for name, id in ids.items()}
    assert [(names[each["video"]["id"]], each["start_sec"], each["score"]) for each in found["moments"]] == [
        (str(folder / hit.video).removeprefix(f"{folder}/"), round(hit.moment.start_sec, 4), round(hit.moment.score, 4))
        for hit in direct.hits
    ]
    assert len(found["moments"]) == 4 and found["videos"] == direct.videos == 2
    assert len({each["video"]["name"] for each in found["moments"]}) == 2
    assert found["failed"] == [str(failed[0]).replace(f"{folder}/", "")] and found["failed"][0].startswith("broken.mp4")
    assert str(folder) not in str(state)


def test_only_videos_with_the_words_are_searched(client, page):
    state = ended(client, ask(client, names="garden"))
    assert {each["video"]["name"] for each in state["found"]["moments"]} == {"sub/Garden Door.webm"}
    assert [video.name for video in page.quick.made] == ["Garden Door.webm"]
    assert client.post("/api/search", json={"query": QUERY, "names": "../secret"}).status_code == 404
    failed = ended(client, ask(client, names="broken"))
    assert (failed["state"], failed["error"][:39]) == ("failed", "No video can be used: broken.mp4: moov ")


def test_progress_names_the_video_and_a_stopped_search_ends_its_work(client, page):
    page.quick.gate.clear()
    job = ask(client)
    assert page.quick.entered.wait(60)
    while "what" not in (state := client.get(f"/api/jobs/{job}").json()):
        time.sleep(0.01)
    shown = {name: state[name] for name in ("state", "number", "videos", "name", "what", "total")}
    assert shown == {
        "state": "running",
        "number": 0,
        "videos": 3,
        "name": "broken.mp4",
        "what": "features",
        "total": 6,
    }
    assert client.delete(f"/api/jobs/{job}").status_code == 200
    assert ended(client, job)["state"] == "stopped"
    while page.preparation._pending():
        time.sleep(0.01)
    assert page.quick.made == []


def test_a_search_that_nobody_looks_at_any_more_ends(client, page, monkeypatch):
    monkeypatch.setattr(searches, "_LEFT_SEC", 0.0)
    page.quick.gate.clear()
    assert ended(client, ask(client))["state"] == "stopped"


def test_a_search_waits_while_the_queues_are_full(client, page, monkeypatch):
    monkeypatch.setattr(searches, "_AGAIN_SEC", 0.01)
    page.answering._most, most = 0, page.answering._most
    job = ask(client, names="kitchen")
    time.sleep(0.1)
    assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
    page.answering._most = most
    assert ended(client, job)["state"] == "done"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"query": ""}, 422, "Say in a sentence"),
        ({"query": "zyx qwv"}, 422, "no word of the query"),
        ({"query": QUERY, "top": 0}, 422, "1 to 20"),
        ({"query": QUERY, "names": ["/etc"]}, 404, "No video has such a name"),
    ],
)
def test_bad_searches_get_a_sentence(client, body, status, words):
    response = client.post("/api/search", json=body)
    assert (response.status_code, words in response.json()["error"]) == (status, True)


def test_methods_whose_scores_do_not_compare_say_so(client, page):
    assert client.get("/api/info").json()["alone"] == ""
    page.alone = "X cannot search several videos at once: its scores are shares within one video."
    assert client.get("/api/info").json()["alone"] == page.alone
    response = client.post("/api/search", json={"query": QUERY})
    assert (response.status_code, response.json()["error"]) == (422, f"{page.alone} Ask a video at a time.")


def test_too_many_searches_are_refused_and_old_ones_forgotten(client, page, monkeypatch):
    monkeypatch.setattr(searches, "_REMEMBERED", 1)
    jobs = [ask(client, names="kitchen") for _ in range(1)]
    for _ in range(3):
        assert ended(client, jobs[-1])["state"] == "done"
        jobs.append(ask(client, names="kitchen"))
    assert ended(client, jobs[-1])["state"] == "done"
    assert len(page.searches._known) == 2
    page.searches._most = 0
    response = client.post("/api/search", json={"query": QUERY})
    assert (response.status_code, response.headers["retry-after"]) == (503, "60")
