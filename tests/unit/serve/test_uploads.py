"""Files that come in."""

import asyncio
import errno
import json
import os
import re
import shutil
from collections import namedtuple

import clips
import pytest
import served

from vmr.serve.limits import Limits, RefusedError
from vmr.serve.probing import Probers
from vmr.serve.uploads import Uploads


def send(client, content, name):
    return client.post("/api/videos", params={"name": name}, content=content)


def kept(page):
    """Names of the files in the folder of uploads."""
    return sorted(path.name for path in page.uploads.folder.glob("*"))


@pytest.fixture(scope="module")
def probers():
    """Children that run ffprobe."""
    return Probers()


@pytest.fixture(scope="module")
def other_clips(tmp_path_factory):
    """Clips of different contents."""
    folder = tmp_path_factory.mktemp("clips")
    return [clips.render(folder / f"{frames}.mp4", frames=frames).read_bytes() for frames in (10, 12, 14)]


def test_an_upload_is_offered_played_asked_and_removed(client, page, clip):
    response = send(client, clip.read_bytes(), "My Film.MP4")
    assert response.status_code == 201
    video = response.json()["video"]
    assert (video["name"], video["uploaded"]) == ("My Film.MP4", True)
    assert kept(page) == [f"{video['id']}.json", f"{video['id']}.mp4"]
    assert client.get("/api/videos").json()["videos"][0] == video
    assert client.get(f"/media/{video['id']}").content == clip.read_bytes()
    begun = client.post(f"/api/videos/{video['id']}/features")
    assert begun.status_code == 202
    assert served.ended(client, begun.json()["job"]["id"])["state"] == "done"
    assert client.post(f"/api/videos/{video['id']}/features").status_code == 200
    path = page.uploads.all()[video["id"]].path
    features = page.locator._cache.path(page.locator._cache.content(path))
    assert features.is_file()
    assert client.delete(f"/api/videos/{video['id']}").status_code == 200
    assert kept(page) == []
    assert not features.exists()
    assert client.get(f"/media/{video['id']}").status_code == 404
    assert client.delete(f"/api/videos/{video['id']}").status_code == 404


def test_videos_of_the_folder_cannot_be_removed(client, ids, folder):
    assert client.delete(f"/api/videos/{ids['kitchen.mp4']}").status_code == 404
    assert (folder / "kitchen.mp4").is_file()


def test_a_video_at_work_cannot_be_removed(client, page, clip):
    video = send(client, clip.read_bytes(), "film.mp4").json()["video"]
    page.quick.gate.clear()
    client.post(f"/api/videos/{video['id']}/features")
    assert client.delete(f"/api/videos/{video['id']}").status_code == 409
    page.quick.gate.set()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd.mp4", "passwd.mp4"),
        ("..\\..\\windows\\system.mp4", "system.mp4"),
        ("/absolute.mp4", "absolute.mp4"),
        ("<img src=x onerror=alert(1)>.mp4", "<img src=x onerror=alert(1)>.mp4"),
        ("a\u202e\x00\n4pm.mp4", "a\ufffd\ufffd4pm.mp4"),  # marks without width are no part of a name
        ("$(touch x);`id`.mp4", "$(touch x);`id`.mp4"),
        ("x" * 5000 + ".mp4", "x" * 196 + ".mp4"),
        ("Ünïcödé 影片.mp4", "Ünïcödé 影片.mp4"),
    ],
)
def test_hostile_names_are_only_shown(client, page, clip, name, shown):
    video = send(client, clip.read_bytes(), name).json()["video"]
    assert video["name"] == shown
    assert kept(page) == [f"{video['id']}.json", f"{video['id']}.mp4"]
    assert client.get("/api/videos").json()["videos"][0]["name"] == shown


@pytest.mark.parametrize(
    ("content", "name", "status", "words"),
    [
        (
            b"text",
            "a.txt",
            415,
            "whose names end in .mp4, .m4v, .mov, .webm, .ogv, .mkv, .avi, .flv, .wmv and the like.",
        ),
        (b"text", "a.html", 415, "only video files are taken"),
        (b"text", "", 415, "only video files are taken"),
        (b"text", ".mp4", 415, "only video files are taken"),
        (b"", "a.mp4", 422, "the file is empty. Try another file."),
        (b"not a film" * 100, "a.mp4", 422, "a.mp4 cannot be used: ffprobe cannot read it"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "a.mp4", 422, "cannot be used"),
        (b"ffconcat version 1.0\nfile kitchen.mp4\n", "a.mp4", 422, "cannot be used"),
        (b"0" * 200_001, "a.mp4", 413, "files of up to 0.2 MB are taken"),
    ],
)
def test_what_is_no_video_is_refused_and_gone(client, page, tmp_path, content, name, status, words):
    response = send(client, content, name)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert str(tmp_path) not in response.text
    assert kept(page) == []


def test_sound_and_cut_off_and_long_videos_are_refused(client, page, clip, tmp_path):
    sound = tmp_path / "sound.mp4"
    clips.ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    assert "no video stream" in send(client, sound.read_bytes(), "sound.mp4").json()["error"]
    assert send(client, clip.read_bytes()[:-800], "cut.mp4").status_code == 422
    long = clips.render(tmp_path / "long.mp4", frames=96)
    assert "up to 0.05 minutes are taken" in send(client, long.read_bytes(), "long.mp4").json()["error"]
    assert kept(page) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"ffconcat version 1.0\nfile other.mp4\n", "concat"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n", "hls"),
    ],
)
def test_playlists_are_refused_even_where_ffprobe_follows_them(client, page, clip, content, kind):
    """The pictures of a list that names a file beside it would be somebody else's."""
    page.uploads.folder.mkdir(parents=True, exist_ok=True)
    (page.uploads.folder / "other.mp4").write_bytes(clip.read_bytes())
    response = send(client, content, "list.mp4")
    assert response.status_code == 422
    # ffmpeg 7 and later take no playlist that is not called one.
    assert re.search(f"its format '{kind}' is none that holds a video by itself|Invalid data", response.json()["error"])
    assert kept(page) == ["other.mp4"]


def test_the_same_file_twice_is_kept_once_under_the_latest_name(client, page, clip):
    first = send(client, clip.read_bytes(), "one.mp4").json()["video"]
    second = send(client, clip.read_bytes(), "two.mp4").json()["video"]
    assert first["id"] == second["id"]
    assert len(kept(page)) == 2
    assert client.get("/api/videos").json()["videos"][0]["name"] == "two.mp4"


def test_the_oldest_make_way_but_not_those_at_work(tmp_path, probers, other_clips):
    sizes = [len(content) for content in other_clips]
    busy = set()
    limits = Limits(max_uploads_mb=(sum(sizes) - 1) / 1e6, max_upload_mb=(sum(sizes) - 1) / 1e6)
    uploads = Uploads(tmp_path / "up", limits, probers, busy=lambda id: id in busy)

    def send(number):
        return receive(uploads, whole(other_clips[number]), size=sizes[number], name=f"{number}.mp4")

    first = send(0)
    send(1)
    busy.add(first.id)
    send(2)
    assert [video.name for video in uploads.all().values()] == ["2.mp4", "0.mp4"]
    busy.update(uploads.all())
    with pytest.raises(RefusedError, match="no room") as caught:
        send(1)
    assert caught.value.status == 507
    again = Uploads(tmp_path / "up", limits, probers)
    assert {video.name for video in again.all().values()} == {"2.mp4", "0.mp4"}


def test_what_turns_out_to_be_no_video_makes_no_other_go(tmp_path, probers, other_clips):
    clip, other = other_clips[:2]
    room = len(clip) + len(other) - 1
    uploads = Uploads(tmp_path / "up", Limits(max_uploads_mb=room / 1e6, max_upload_mb=room / 1e6), probers)

    def send(content):
        return receive(uploads, whole(content), size=len(content))

    kept = send(clip)
    with pytest.raises(RefusedError, match="cannot be used"):
        send(b"x" * len(other))
    assert list(uploads.all()) == [kept.id]
    assert kept.path.read_bytes() == clip
    assert [send(clip).id] == list(uploads.all())  # known: takes no room of its own
    assert [send(other).id] == list(uploads.all())
    assert not kept.path.exists()


def test_a_video_that_was_deleted_from_outside_can_come_again(tmp_path, probers, clip):
    uploads = Uploads(tmp_path / "up", Limits(), probers)
    content = clip.read_bytes()

    first = receive(uploads, whole(content), size=len(content))
    shutil.rmtree(uploads.folder)
    assert receive(uploads, whole(content), size=len(content)).id == first.id
    assert first.path.read_bytes() == content


def test_a_note_that_cannot_be_written_leaves_nothing(tmp_path, probers, clip, monkeypatch):
    uploads = Uploads(tmp_path / "up", Limits(), probers)
    content = clip.read_bytes()
    monkeypatch.setattr("vmr.serve.uploads.write_json", full)
    with pytest.raises(RefusedError, match="disk is full"):
        receive(uploads, whole(content), size=len(content))
    assert list(uploads.folder.glob("*")) == []
    assert uploads.all() == {}
    monkeypatch.undo()
    known = receive(uploads, whole(content), size=len(content))
    monkeypatch.setattr("vmr.serve.uploads.write_json", full)
    with pytest.raises(RefusedError, match="disk is full"):
        receive(uploads, whole(content), size=len(content))
    assert list(uploads.all()) == [known.id]
    assert known.path.is_file()


def receive(uploads, chunks, *, size=1000, name="a.mp4"):
    return asyncio.run(uploads.receive(name, size, chunks))


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def whole(content):
    yield content


async def sent():
    yield b"some"
    yield b"more"


@pytest.fixture
def uploads(tmp_path, probers):
    return Uploads(tmp_path / "up", Limits(silence_sec=60, uploads_at_once=1), probers)


@pytest.mark.parametrize(
    ("size", "status", "words"),
    [(9, 400, "broke off"), (7, 413, "more came"), (None, 411, "Content-Length")],
)
def test_transfers_that_go_wrong_leave_nothing(uploads, size, status, words):
    with pytest.raises(RefusedError, match=words) as caught:
        receive(uploads, sent(), size=size)
    assert caught.value.status == status
    assert list(uploads.folder.glob("*")) == []
    assert uploads._coming == {}


async def dripping():
    while True:
        await asyncio.sleep(0.02)
        yield b"x"


async def silent():
    yield b"some"
    await asyncio.Event().wait()


@pytest.mark.parametrize(("chunks", "words"), [(dripping, "comes too slowly"), (silent, "nothing came")])
def test_an_upload_that_drips_or_falls_silent_is_given_up(tmp_path, probers, chunks, words):
    uploads = Uploads(tmp_path / "up", Limits(silence_sec=0.05), probers)
    with pytest.raises(RefusedError, match=words) as caught:
        receive(uploads, chunks())
    assert caught.value.status == 408
    assert list(uploads.folder.glob("*")) == []
    assert uploads._coming == {}


def test_one_upload_too_many_is_told_when_to_come_back(uploads):
    async def both():
        begun, gate = asyncio.Event(), asyncio.Event()

        async def held():
            begun.set()
            await gate.wait()
            yield b"not a film"

        first = asyncio.create_task(uploads.receive("a.mp4", 10, held()))
        await begun.wait()
        with pytest.raises(RefusedError) as caught:
            await uploads.receive("b.mp4", 8, sent())
        gate.set()
        with pytest.raises(RefusedError, match="cannot be used"):
            await first
        return caught.value

    refused = asyncio.run(both())
    assert (refused.status, refused.retry_sec) == (503, 5)


def test_a_full_disk_is_said_so(uploads, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(RefusedError, match="disk is full") as caught:
        receive(uploads, sent(), size=8)
    assert caught.value.status == 507
    monkeypatch.undo()
    monkeypatch.setattr("vmr.serve.uploads.tempfile.NamedTemporaryFile", full)
    with pytest.raises(RefusedError, match="disk is full"):
        receive(uploads, sent(), size=8)
    assert list(uploads.folder.glob("*")) == []


def test_rests_of_broken_uploads_go_at_the_next_start(tmp_path, probers, clip):
    folder = tmp_path / "up"
    folder.mkdir()
    for name, age in (("part-old.mp4", 7200), ("part-new.mp4", 0)):
        (folder / name).write_bytes(b"rest")
        os.utime(folder / name, ((folder / name).stat().st_mtime - age,) * 2)
    (folder / "known.mp4").write_bytes(clip.read_bytes())
    (folder / "known.json").write_text(json.dumps({"name": "known film.mp4"}))
    (folder / "nameless.mp4").write_bytes(b"no note beside it")
    (folder / "damaged.mp4").write_bytes(b"damaged note")
    (folder / "damaged.json").write_text("{")
    uploads = Uploads(folder, served.LIMITS, probers)
    assert [video.name for video in uploads.all().values()] == ["known film.mp4"]
    assert not (folder / "part-old.mp4").exists()
    assert (folder / "part-new.mp4").exists()
