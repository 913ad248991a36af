import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import clips
import pandas as pd
import pytest
from written import write_first_seconds

from vmr.annotations.moments import MOMENT_COLUMNS, write_moments
from vmr.config.sections import VideoSettings
from vmr.errors import AnnotationError, ShardError, VideoError
from vmr.names import VIDEO_EXTENSIONS
from vmr.video import containers, ffprobe, probe
from vmr.video.ffprobe import choose_stream, display_rotation, rate, rotation_doubt, seconds, timeline_origin
from vmr.video.ffprobe import probe as ask
from vmr.video.manifest import read_manifest
from vmr.video.probe import probe_video, probe_videos
from vmr.video.processes import child_environment
from vmr.video_ids import shard_of


def probe_all(tmp_path, folder, video_ids, *, shards=1, outputs=None):
    write_first_seconds(tmp_path / "moments.csv", test=dict.fromkeys(video_ids, float("nan")))
    outputs = outputs or [tmp_path / f"{shard}.csv" for shard in range(shards)]
    shared = {"moments": tmp_path / "moments.csv", "videos": folder, "settings": VideoSettings(probe_timeout_sec=60)}
    for shard, output in enumerate(outputs):
        probe_videos(shard=shard, shards=shards, output=output, **shared)
    return outputs


def test_a_video_is_described(render_clip):
    path = render_clip("clip.mp4", fps="25")
    row = probe_video(path, timeout_sec=20)
    assert (row["status"], row["reason"], row["codec"]) == ("ok", "", "h264")
    assert (row["width"], row["height"], row["rotation"]) == (128, 64, 0)
    assert (row["duration_sec"], row["fps"], row["num_frames"], row["start_sec"]) == (2.0, 25.0, 50, 0.0)
    assert row["size_bytes"] == path.stat().st_size


# Facts: ../shared/data/README.md; frames counted with `ffmpeg -f null`.
@pytest.mark.parametrize(
    ("name", "status", "duration", "fps", "size", "codec"),
    [
        ("3MSZA.mp4", "ok", 31.0, 30, (480, 270), "h264"),
        ("v_ZNVhz7ctTq0.mp4", "ok", 14.0, 30, (480, 360), "h264"),
        ("nasa_13013.mp4", "ok", 13.0, 25, (320, 180), "h264"),
        ("corrupted.mp4", "ok", 5.0, 10, (1280, 720), "h264"),
        ("video_90.mov", "ok", 0.1, 30, (320, 568), "h264"),
        ("unordered.mov", "ok", 0.125, 32, (50, 50), "h264"),
        ("flipping_a_pancake.mkv", "ok", 10.333, 30, (426, 240), "h264"),
        ("av1_video.mkv", "ok", 5.0, 25, (640, 360), "av1"),
        ("h265_10bits.mp4", "ok", 1.0, 30, (200, 200), "hevc"),
        ("sine_mono_s16.wav", "bad", None, None, None, None),
    ],
)
def test_real_videos(shared_data, name, status, duration, fps, size, codec):
    row = probe_video(shared_data / "videos" / name, timeout_sec=20)
    assert row["status"] == status
    if status == "bad":
        assert "no video stream" in row["reason"] and "audio" in row["reason"]
    else:
        assert row["duration_sec"] == pytest.approx(duration)
        assert (row["fps"], (row["width"], row["height"]), row["codec"]) == (fps, size, codec)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a video at all, only words\n" * 100, "ffprobe cannot read it"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "ffprobe cannot read it"),
    ],
)
def test_what_is_no_video_gets_a_reason(tmp_path, content, reason):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "bad" and reason in row["reason"]
    assert str(tmp_path) not in row["reason"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("ffconcat version 1.0\nfile other.mp4\n", "concat"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n", "hls"),
    ],
)
def test_playlists_are_not_followed(render_clip, content, kind):
    """The pictures of a list that names a file beside it would be those of another video."""
    listing = render_clip("other.mp4", frames=4).with_name("list.mp4")
    listing.write_text(content)
    row = probe_video(listing, timeout_sec=20)
    assert row["status"] == "bad"
    # ffmpeg 7 and later take no playlist that is not called one.
    assert re.search(f"its format '{kind}' is none that holds a video by itself|Invalid data found", row["reason"])


def test_what_is_found_and_what_is_read_are_the_same_kinds_of_files():
    kinds = {**containers.VIDEO, **containers.SOUND}
    assert {extension for extensions in kinds.values() for extension in extensions} == set(VIDEO_EXTENSIONS)
    assert len(set(VIDEO_EXTENSIONS)) == len(VIDEO_EXTENSIONS)
    assert containers.SAFE_INPUT["format_whitelist"].split(",") == list(kinds)
    sound = [extension for extension in VIDEO_EXTENSIONS if extension in SOUND]
    assert list(VIDEO_EXTENSIONS[-len(sound) :]) == sound, "a sound of the same name must not come before a video"


SOUND = [".m4a", ".ogg", *itertools.chain.from_iterable(containers.SOUND.values())]
MPEG2 = ["-c:v", "mpeg2video"]
PAL = ["-s", "720x576", "-r", 25]
CIF = ["-s", "176x144"]
# What the encoders and muxers of ffmpeg need for files with these names; mpeg4 does for the others.
WRITTEN = {
    **dict.fromkeys([".mpg", ".mpeg", ".vob", ".ts", ".m2ts", ".mts", ".mxf", ".m2v", ".wtv"], MPEG2),
    # As cameras and recorders name their files; ffmpeg does not know what to write by these names.
    **{key: ["-c:v", "mpeg4", "-f", "mp4"] for key in [".qt", ".lrv", ".lrf", ".insv", ".mqv", ".ismv", ".3gpp"]},
    **{key: [*MPEG2, "-f", "vob"] for key in [".mpe", ".mod", ".m2p", ".vro"]},
    **{key: [*MPEG2, "-f", "mpegts"] for key in [".m2t", ".tod", ".trp", ".tp"]},
    ".mk3d": ["-c:v", "mpeg4", "-f", "matroska"],
    ".ogm": ["-c:v", "libtheora", "-f", "ogg"],
    ".m1v": ["-c:v", "mpeg1video"],
    ".webm": ["-c:v", "libvpx"],
    ".ivf": ["-c:v", "libvpx"],
    ".ogv": ["-c:v", "libtheora"],
    ".y4m": ["-c:v", "wrapped_avframe"],
    ".flv": ["-c:v", "flv"],
    ".swf": ["-c:v", "flv"],
    ".f4v": ["-c:v", "libx264"],
    ".divx": ["-f", "avi"],
    ".rm": ["-c:v", "rv10", *CIF],
    ".rmvb": ["-c:v", "rv10", *CIF, "-f", "rm"],
    ".dv": ["-c:v", "dvvideo", *PAL],
    ".gxf": [*MPEG2, *PAL],
    ".gif": ["-c:v", "gif", "-pix_fmt", "rgb8"],
    ".h261": ["-c:v", "h261", *CIF],
    ".h263": ["-c:v", "h263", *CIF],
    ".h264": ["-c:v", "libx264"],
    **{key: ["-c:v", "libx265", "-f", "hevc", "-x265-params", "log-level=none"] for key in [".hevc", ".h265"]},
    **{key: ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"] for key in [".mjpeg", ".mjpg"]},
    ".obu": ["-c:v", "libaom-av1", "-cpu-used", 8],
    ".dnxhd": ["-c:v", "dnxhd", "-s", "1920x1080", "-r", 25, "-b:v", "36M", "-pix_fmt", "yuv422p"],
}
NEVER_WRITTEN = [".nsv", ".vc1", ".vvc"]  # by any ffmpeg, or by that of 2022


@pytest.mark.parametrize("extension", [e for e in VIDEO_EXTENSIONS if e not in SOUND and e not in NEVER_WRITTEN])
def test_every_kind_of_file_that_is_looked_for_is_read(render_clip, extension):
    path = render_clip(f"clip{extension}", "-r", 25, *WRITTEN.get(extension, ["-c:v", "mpeg4"]), frames=12)
    row = probe_video(path, timeout_sec=20)
    assert (row["status"], row["reason"]) == ("ok", "")
    assert row["duration_sec"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("extension", [".wav", ".mp3", ".m4a", ".ogg", ".flac", ".aac", ".ac3", ".aiff"])
def test_files_of_sound_say_so(tmp_path, extension):
    path = tmp_path / f"sound{extension}"
    clips.ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", path)
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "bad"
    assert "no video stream (the file has: audio)" in row["reason"]


def test_folders_pipes_and_vanished_files_get_a_reason(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("folder.mp4", "pipe.mp4", "gone.mp4"):
        row = probe_video(tmp_path / name, timeout_sec=2)
        assert row["status"] == "bad" and row["reason"]


def test_a_header_without_pictures_gets_a_reason(render_clip):
    path = render_clip("clip.mp4")
    path.write_bytes(path.read_bytes()[:200])
    assert probe_video(path, timeout_sec=20)["status"] == "bad"


@pytest.mark.parametrize("error", [OverflowError, MemoryError, AttributeError, KeyError])
def test_whatever_one_file_provokes_is_its_own_reason(tmp_path, render_clip, monkeypatch, error):
    clip = render_clip("strange.mp4", frames=4)
    clip.with_name("plain.mp4").write_bytes(clip.read_bytes())
    describe = probe._describe

    def surprise(stream, container):
        if "strange" in container["filename"]:
            raise error("a field nobody expected")
        return describe(stream, container)

    monkeypatch.setattr(probe, "_describe", surprise)
    (output,) = probe_all(tmp_path, clip.parent, ["strange", "plain"])
    table = read_manifest([output]).set_index("video_id")
    assert table["status"].to_dict() == {"strange": "bad", "plain": "ok"}
    assert f"unexpected {error.__name__}" in table["reason"]["strange"]


@pytest.mark.parametrize("options", [[], ["-use_editlist", 0]])
def test_a_video_of_many_years_is_refused(render_clip, options):
    path = clips.endless(render_clip("clip.mp4", "-c:v", "libx264", "-bf", 0, *options, frames=4))
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "bad" and "hours; at most 48 are read" in row["reason"]


def test_where_only_the_declared_length_is_absurd_the_packets_say_it(render_clip):
    path = clips.patch_box(render_clip("clip.mp4"), b"mdhd", 16, 0x7FFFFFFF)
    row = probe_video(path, timeout_sec=20)
    assert (row["status"], row["duration_sec"]) == ("ok", 2.0)


def test_names_that_look_like_protocols_or_options(render_clip):
    path = render_clip("clip.mp4", frames=4)
    for name in ("-i.mp4", "http:x.mp4", "a b'\"%d.mp4", "\u00e9t\u00e9.mp4"):
        path = path.rename(path.with_name(name))
        assert probe_video(path, timeout_sec=20)["status"] == "ok"


def test_every_video_of_a_shard_has_a_row(tmp_path, render_clip):
    clip = render_clip("v0.mp4", frames=4)
    (clip.parent / "v1.mp4").write_bytes(b"nonsense")
    video_ids = [f"v{n}" for n in range(8)]
    outputs = probe_all(tmp_path, clip.parent, video_ids, shards=2)
    for shard, output in enumerate(outputs):
        wanted = [name for name in video_ids if shard_of(name, 2) == shard]
        assert read_manifest([output])["video_id"].tolist() == wanted
    statuses = read_manifest(outputs).set_index("video_id")["status"]
    assert statuses.sort_index().tolist() == ["ok", "bad", *["missing"] * 6]


def test_a_video_of_unknown_duration_does_not_stop_its_shard(tmp_path, render_clip):
    clip = render_clip("clip.mkv", "-live", 1)
    clip.with_name("odd.mkv").write_bytes(clip.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/ODD"))
    (table,) = probe_all(tmp_path, clip.parent, ["clip", "odd"])
    rows = read_manifest([table]).set_index("video_id")
    assert rows["status"].to_dict() == {"clip": "ok", "odd": "bad"} and pd.isna(rows["duration_sec"]["odd"])


def test_an_empty_folder_makes_all_videos_missing_and_one_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (output,) = probe_all(tmp_path, tmp_path / "empty", ["a"])
    assert read_manifest([output])["status"].tolist() == ["missing"]
    for folder in (tmp_path / "nowhere", output):
        with pytest.raises(VideoError, match="there is no such folder of videos"):
            probe_all(tmp_path, folder, ["a"])


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(path):
        if Path(path) == videos:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    (videos := tmp_path / "videos").mkdir()
    scandir = os.scandir
    monkeypatch.setattr("vmr.video.listing.os.scandir", refuse)
    with pytest.raises(VideoError, match=r"a folder of videos was expected, it cannot be listed \(Permission denied\)"):
        probe_all(tmp_path, videos, ["a"])


def test_a_manifest_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ShardError, match=r"0\.csv: cannot be written"):
        probe_all(tmp_path, tmp_path, ["a"], outputs=[tmp_path / "file" / "0.csv"])


def test_a_probe_that_hangs_is_killed_and_the_next_one_runs(render_clip, monkeypatch):
    path = render_clip("clip.mp4", frames=4)
    slow = path.with_name("ffprobe")
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
        begin = time.monotonic()
        with pytest.raises(VideoError, match="no answer within 1 s"):
            ask(path, timeout_sec=1)
        assert time.monotonic() - begin < 10
        patch.undo()
        slow.unlink()
        assert ask(path, timeout_sec=20)["streams"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not kill a process with its parent")
def test_a_probe_that_hangs_does_not_outlive_a_killed_stage(tmp_path, monkeypatch):
    number = tmp_path / "number"
    hanging = tmp_path / "ffprobe"
    hanging.write_text(f"#!/bin/sh\necho $$ > {number}.part && mv {number}.part {number}\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    code = "from vmr.video.ffprobe import probe; probe('clip.mp4', timeout_sec=600)"
    with subprocess.Popen([sys.executable, "-c", code], env=child_environment()) as stage:
        while not number.exists():
            assert stage.poll() is None
            time.sleep(0.01)
        stage.kill()
    probing = Path("/proc") / number.read_text().strip()
    deadline = time.monotonic() + 10
    while probing.exists() and "\nState:\tZ" not in (probing / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_without_an_end_is_cut_off(render_clip, monkeypatch):
    monkeypatch.setattr(ffprobe, "_LARGEST_ANSWER", 2000)
    path = render_clip("clip.mkv", "-c:v", "libx264", "-metadata", f"comment={'x' * 5000}", frames=2)
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "bad" and "it claims more than 0.0 million packets" in row["reason"]


def test_a_missing_ffprobe_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(ffprobe.shutil, "which", lambda name: None)
    with pytest.raises(ShardError, match="Install ffmpeg"):
        ffprobe.require_program("ffprobe")


def test_the_stream_that_players_show_is_chosen():
    cover = {"codec_type": "video", "index": 0, "disposition": {"attached_pic": 1, "default": 1}}
    first = {"codec_type": "video", "index": 1, "disposition": {"default": 0}}
    default = {"codec_type": "video", "index": 2, "disposition": {"default": 1}}
    assert choose_stream([cover, first, default]) is default
    assert choose_stream([cover, first]) is first
    assert choose_stream([cover, {"codec_type": "audio"}]) is None


def test_small_conversions():
    assert display_rotation({"side_data_list": [{"rotation": 90}]}) == 270
    assert display_rotation({"side_data_list": [{"rotation": -180}]}) == 180
    assert display_rotation({"tags": {"rotate": "sideways"}}) == 0
    assert display_rotation({"tags": {"rotate": "inf"}}) == 0
    assert display_rotation({"tags": {"Rotate": "90"}, "side_data_list": [{"rotation": -180}]}) == 180
    assert rotation_doubt({"tags": {"Rotate": "90"}, "side_data_list": [{"rotation": -90}]}) == ""
    assert "180 or 90" in rotation_doubt({"tags": {"Rotate": "90"}, "side_data_list": [{"rotation": -180}]})
    assert "sideways" in rotation_doubt({"tags": {"rotate": "sideways"}})
    assert seconds("N/A") is None and seconds("inf") is None and seconds(None) is None
    assert rate("25/1") == 25 and rate(None) != rate(None)
    # Sound may begin before zero; only a picture that does moves the beginning.
    assert timeline_origin({"start_time": "-0.007"}, {"start_time": "0.000"}) == 0.0
    assert timeline_origin({"start_time": "-0.067"}, {"start_time": "-0.067"}) == -0.067
    assert timeline_origin({"start_time": "1.4"}, {"start_time": "1.48"}) == 1.4
    assert timeline_origin({}, {"start_time": "0.5"}) == 0.5


def test_a_shard_whose_moments_are_in_another_unit_is_not_decoded(tmp_path, render_clip):
    (tmp_path / "v").mkdir()
    render_clip("v/a.mp4", "-c:v", "libx264")  # two seconds
    rows = [(f"train:{n}", "a", "train", 500.0 + n, 1500.0, float("nan"), "it rains.") for n in range(10)]
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), tmp_path / "moments.csv")

    def probe(**options):
        files = {"moments": tmp_path / "moments.csv", "videos": tmp_path / "v", "output": tmp_path / "0.csv"}
        probe_videos(shard=0, shards=1, settings=VideoSettings(probe_timeout_sec=20), **files, **options)

    with pytest.raises(AnnotationError, match=r"all 10 moments begin after .*milliseconds.*accept_wrong: true"):
        probe()
    probe(accept_wrong=True)
    assert read_manifest([tmp_path / "0.csv"])["status"].tolist() == ["ok"]
