"""`vmr locate` as it is called: several videos and queries, JSON, pictures, clips, and what is refused."""

import json
import subprocess

import clips
import numpy as np
import pytest
from typer.testing import CliRunner

import vmr.locate.extraction as extraction
from vmr.cli import app
from vmr.errors import VideoError
from vmr.locate.drawing import cut_clip
from vmr.locate.folders import videos_in


@pytest.fixture
def locate(made):
    data, folder = made

    def run(*things, features=True):
        options = ["--model", folder / "model.safetensors", *(["--features", data.features] if features else [])]
        return CliRunner().invoke(app, list(map(str, ["locate", *things, *options])))

    return run


def test_every_sentence_is_asked_of_every_video(made, locate):
    result = locate(
        "test006.mp4", "test007.mp4", "the wave appears", "we see the noise", "--top", 2, "--json", "--curve"
    )
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    asked = [(answer["video"], answer["query"]) for answer in answers]
    assert asked == [(v, q) for v in ("test006.mp4", "test007.mp4") for q in ("the wave appears", "we see the noise")]
    for answer in answers:
        assert 1 <= len(answer["moments"]) <= 2
        assert all(0 <= one["start_sec"] < one["end_sec"] <= answer["duration_sec"] for one in answer["moments"])
        assert sum(answer["curve"]["start"]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("videos", [["test006.mp4", "test007.mp4"], []])
def test_a_file_asks_each_video_its_own_sentences(locate, tmp_path, videos):
    rows = [
        "test007,we see the noise",
        "test006.mp4,the wave appears",
        "test007,the wave",
        "test007,the wave",
        "no,the wave",
    ]
    (tmp_path / "asked.csv").write_text("\n".join(["video,sentence", *rows, "test006,nan"]) + "\n")
    result = locate(*videos, "--queries", tmp_path / "asked.csv", "--json", "--top", 1)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    asked = [(answer["video"].removesuffix(".mp4"), answer["query"]) for answer in answers]
    assert asked == [("test007", "we see the noise"), ("test007", "the wave"), ("test006", "the wave appears")]
    alone = json.loads(locate("test006.mp4", "the wave appears", "--json").stdout)
    assert answers[2]["moments"] == alone["moments"][:1]
    assert result.exit_code == 1  # of what could not be asked
    missing = "no: no file of this name is among the 2 videos" if videos else "no features for the video no"
    assert missing in result.stderr and "asked.csv:7: the sentence is 'nan'" in result.stderr


QVHIGHLIGHTS = {"qid": 7, "query": "the wave appears", "vid": "test006", "duration": 150}  # as its test split


@pytest.mark.parametrize("content", ["test006 9.0 2.0##the wave appears", json.dumps(QVHIGHLIGHTS)])
def test_annotations_of_any_format_may_be_asked_and_their_times_do_not_count(locate, tmp_path, content):
    (tmp_path / "test.txt").write_text(f"{content}\n")
    result = locate("--queries", tmp_path / "test.txt", "--format", "csv", "--top", 1)
    assert result.exit_code == 0 and result.stdout.splitlines()[1].startswith("test006,the wave appears,1,")
    refused = locate("test006.mp4", "the wave", "--queries", tmp_path / "test.txt")
    assert "the wave: there is no such video; with --queries sentences come from its file" in refused.stderr


def test_a_video_named_by_a_number_is_asked_as_annotations_name_it(locate, tmp_path):
    (tmp_path / "test.json").write_text(json.dumps([{"vid": 6, "query": "the wave appears"}]))
    assert "no features for the video 6 among" in locate("--queries", tmp_path / "test.json").stderr


def test_text_for_people(locate):
    assert locate("test006.mp4", "the wave appears " * 30).exit_code == 0  # no name of a file is that long
    result = locate("test006.mp4", "the xyzzy wave appears", "--top", 1)
    lines = result.stdout.splitlines()
    assert lines[0] == "test006.mp4: the xyzzy wave appears" and lines[1].startswith("  0:0")
    assert lines[2] == "  learned from 30 sentences of run"
    assert lines[3] == "  words without a meaning to this model: xyzzy"


@pytest.mark.parametrize("before", [[], ["--"]])
def test_a_video_whose_name_begins_with_a_dash(made, tmp_path, monkeypatch, before):
    data, folder = made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-abc.mp4").write_bytes(b"")
    options = ["--model", str(folder / "model.safetensors"), "--features", str(data.features)]
    result = CliRunner().invoke(app, ["locate", *options, *before, "-abc.mp4", "the wave appears"])
    assert "no features for the video -abc.mp4" in result.output  # it was taken for a video


def test_a_picture_and_clips(made, locate, tmp_path):
    _, folder = made
    plot, clip = tmp_path / "out.png", tmp_path / "new" / "out.mp4"
    sentences = ("the wave appears for $x_$ and $5", "the noise appears")
    result = locate(folder / "test006.mp4", *sentences, "--plot", plot, "--clip", clip)
    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in clip.parent.iterdir()) == ["out-1.mp4", "out-2.mp4"]
    moment = json.loads(locate(folder / "test006.mp4", sentences[0], "--json").stdout)["moments"][0]
    command = [
        "ffprobe",
        "-v",
        "error",
        "-show_entries",
        "format=duration",
        "-of",
        "csv=p=0",
        str(clip.with_stem("out-1")),
    ]
    seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert seconds == pytest.approx(moment["end_sec"] - moment["start_sec"], abs=1 / 6)  # two frames


@pytest.mark.parametrize(
    ("things", "message"),
    [
        (["test006.mp4"], "no query was given"),
        (["nowhere.mp4", "the wave appears"], "nowhere"),
        (
            ["test006.mp4", "the wave appears", "--plot", "out.txt"],
            "out.txt: expected the name of a picture",
        ),
        (
            ["test006.mp4", "the wave appears", "--clip", "out.txt"],
            "out.txt: expected the name of a clip",
        ),
        (["test006.mp4", "the wave appears", "--clips", __file__], "expected a folder for the clips, found a file"),
        (["test006.mp4", "?!"], "the query '?!' has no words"),
        (["test006.mp4", "?!", "xyzzy"], "no word of the query 'xyzzy' is known to this model"),
    ],
)
def test_what_cannot_be_answered_is_said(locate, things, message):
    result = locate(*things)
    assert result.exit_code == 1 and message in result.output and "0:0" not in result.output


def test_a_bad_video_does_not_keep_the_others_from_being_asked(locate):
    result = locate("nowhere.mp4", "test006.mp4", "the wave appears")
    assert result.exit_code == 1
    assert "error: " in result.stderr and "nowhere" in result.stderr
    assert result.stdout.startswith("test006.mp4: the wave appears\n  0:0")


def test_a_bad_sentence_does_not_keep_the_others_from_being_asked(locate):
    result = locate("test006.mp4", "xyzzy", "the wave appears")
    assert result.exit_code == 1 and "xyzzy" in result.stderr
    assert result.stdout.startswith("test006.mp4: the wave appears\n  0:0") and "xyzzy" not in result.stdout


def test_playlists_are_not_followed_to_other_videos(made, tmp_path):
    _, folder = made
    (tmp_path / "other.mp4").write_bytes((folder / "test006.mp4").read_bytes())
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(VideoError, match=r"list\.mp4: .*concat.* none that holds a video by itself"):
        cut_clip(tmp_path / "list.mp4", 0.0, 1.0, tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()


def test_a_clip_does_not_replace_a_video_that_is_asked(made, locate, tmp_path):
    films = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for film in films:
        film.write_bytes(b"a film")
    result = locate(*films, "the wave appears", "--clip", films[1])
    assert result.exit_code == 1 and "another file than the video itself" in result.output
    assert films[1].read_bytes() == b"a film"
    numbered = tmp_path / "clip-2.mp4"
    numbered.write_bytes(b"a film")
    result = locate(
        made[1] / "test006.mp4", numbered, "the wave appears", "the noise appears", "--clip", tmp_path / "clip.mp4"
    )
    assert result.exit_code == 1 and "clip-2.mp4: expected another file than the video itself" in result.output
    assert numbered.read_bytes() == b"a film"


def test_a_clip_does_not_replace_its_video(made, tmp_path):
    video = tmp_path / "film.mp4"
    video.write_bytes((made[1] / "test006.mp4").read_bytes())
    (tmp_path / "link.mp4").symlink_to(video)
    before = video.read_bytes()
    for path in (video, tmp_path / "link.mp4"):
        with pytest.raises(VideoError, match="another file than the video itself"):
            cut_clip(video, 0.0, 1.0, path)
    assert video.read_bytes() == before


def test_a_clip_shows_the_stream_that_players_and_features_do(tmp_path):
    inputs = [word for colour in ("red", "blue") for word in ("-f", "lavfi", "-i", f"color={colour}:size=64x48:d=1")]
    marked = ["-map", "0", "-map", "1", "-disposition:v:0", "0", "-disposition:v:1", "default"]
    clips.ffmpeg(*inputs, *marked, tmp_path / "two.mkv")
    cut_clip(tmp_path / "two.mkv", 0.0, 0.5, tmp_path / "clip.mp4")
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "clip.mp4"), "-frames:v", "1", "-f", "rawvideo"]
    shown = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    assert shown[0] < 50 and shown[2] > 200  # blue


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("long.ts", ["-g", "500", "-bf", "2"]),  # in mpegts ffmpeg seeks between key frames
        ("late.ts", ["-g", "500", "-output_ts_offset", "3600"]),
        ("bare.h264", []),  # has no times to seek by
        ("still.mkv", ["-vf", "select=lt(n\\,30)+gt(n\\,100)", "-fps_mode", "vfr"]),  # as a recorded screen
        ("film.mp4", ["-bf", "2"]),
    ],
)
def test_a_clip_begins_with_the_frame_that_is_shown_then(tmp_path, name, options):
    video = clips.render(tmp_path / name, "-c:v", "libx264", *options, frames=144)
    cut_clip(video, 2.0, 3.0, tmp_path / "clip.mp4")
    at_24 = ["-vf", "fps=24:round=up", "-fps_mode", "passthrough"]
    raw = clips.ffmpeg("-i", tmp_path / "clip.mp4", *at_24, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    numbers = clips.numbers_of(np.frombuffer(raw, np.uint8).reshape(-1, clips.HEIGHT, clips.WIDTH, 3))
    assert numbers == [29] * 24 if name == "still.mkv" else numbers == [*range(48, 72)]


def test_a_clip_without_a_picture_is_refused(tmp_path):
    video = clips.render(tmp_path / "short.mp4", "-c:v", "libx264", "-an")
    with pytest.raises(VideoError, match=r"short\.mp4: .*50\.0 and 51\.0 s .*The file may end before"):
        cut_clip(video, 50.0, 51.0, tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()


def test_a_film_beside_its_folder_is_searched_once_and_a_search_has_no_curves(locate, tmp_path):
    film = tmp_path / "test006.mp4"
    film.touch()
    assert json.loads(locate(tmp_path, film, "the wave appears", "--json").stdout)["videos"] == 1
    for option in (["--plot", tmp_path / "out.png"], ["--curve", "--json"]):
        result = locate(tmp_path, "the wave appears", *option)
        assert result.exit_code == 1 and f"{option[0]}: a search of a folder has no curves" in result.output


def test_folders_behind_links_are_searched_once(tmp_path):
    disk, folder = tmp_path / "disk", tmp_path / "films"
    for path in (disk / "far.mp4", folder / "near.mp4"):
        path.parent.mkdir()
        path.touch()
    (folder / "linked").symlink_to(disk)
    (folder / "again").symlink_to(disk)
    (disk / "circle").symlink_to(folder)
    assert sorted(path.name for path in videos_in(folder)) == ["far.mp4", "near.mp4"]


def test_sentences_without_a_video_are_no_videos(locate):
    result = locate("a wave", "another wave", features=False)
    assert result.exit_code == 1 and "a wave: there is no such video. Videos come first" in result.output


def test_progress_tells_of_decoding_and_features(made, tmp_path):
    """Frames as they are kept, of as many as there will be."""
    _, folder = made
    told = []
    extraction.decode_frames(
        manifest=_probed(folder / "test006.mp4", tmp_path),
        output=tmp_path / "frames.h5",
        decoded_manifest=tmp_path / "decoded.csv",
        settings=extraction.VideoSettings(),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (240, 240) and [done for done, _ in told] == sorted(done for done, _ in told)


def _probed(video, folder):
    row = {"video_id": "video", **extraction.probe_video(video, timeout_sec=30)}
    extraction.write_manifest([row], folder / "probed.csv", columns=extraction.MANIFEST_COLUMNS)
    return folder / "probed.csv"
