import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vmr.errors import VideoError
from vmr.video import reader
from vmr.video.probe import probe_video
from vmr.video.processes import Helpers, Pipeline
from vmr.video.reader import Picture, decode_video, kept_size
from vmr.video.stream import StreamScan, decoded_frames

STEPS = 24


@pytest.fixture(scope="module")
def helpers():
    with Helpers() as running:
        yield running


def decode(helpers, path, *, short_side=64):
    """Result of decoding and the frames kept, (n, H, W, 3)."""
    row = probe_video(helpers.prober, path, timeout_sec=20)
    assert row["status"] == "ok", row["reason"]
    picture = Picture(path, row["width"], row["height"], row["rotation"], row["duration_sec"])
    target = path.with_suffix(".kept")
    decoded = decode_video(helpers, picture, target=target, fps=STEPS, short_side=short_side, timeout_sec=20)
    stream = target.read_bytes()
    scan = StreamScan()
    scan.feed(stream)
    assert scan.num_frames == decoded.num_frames
    chunks = decoded_frames(lambda a, b: stream[a:b], size=len(stream), width=decoded.width, height=decoded.height)
    frames = np.concatenate(list(chunks))
    assert len(frames) == decoded.num_frames
    return decoded, frames


def shown(times, numbers, steps):
    """Slow reference: what a player shows at each step, given the exact time of each frame."""
    order = sorted(zip(times, numbers, strict=True))
    chosen = []
    for step in range(steps):
        due = [number for time, number in order if time <= Fraction(step, STEPS)]
        chosen.append(due[-1] if due else order[0][1])
    return chosen


def presented(path):
    """Times and numbers as the ffmpeg command line presents them, frame by frame: for clips that were cut."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "json"]
    listed = json.loads(subprocess.run([*command, path], capture_output=True, check=True).stdout)
    return [Fraction(frame["pts_time"]) for frame in listed["frames"]]


@pytest.mark.parametrize("fps", ["6", "12", "15000/1001", "24000/1001", "24", "25", "30000/1001", "30", "60"])
def test_every_rate_gives_the_frame_on_display(helpers, render_clip, read_numbers, fps):
    path = render_clip("clip.mp4", fps=fps)
    decoded, frames = decode(helpers, path)
    count = round(2 * Fraction(fps))
    assert (decoded.decoder, decoded.note) == ("decord", "")
    # ceil(duration * 24): 48 steps for 2.0 s, 49 for the 2.002 s of the 1001-rates.
    assert decoded.num_frames == -(-count * STEPS // Fraction(fps))
    assert read_numbers(frames) == shown([number / Fraction(fps) for number in range(count)], range(count), len(frames))


@pytest.mark.parametrize("fps", ["24", "30000/1001"])
def test_time_stamps_rounded_to_milliseconds(helpers, render_clip, read_numbers, fps):
    _, frames = decode(helpers, render_clip("clip.mkv", "-c:v", "libx264", fps=fps))
    numbers = read_numbers(frames)
    if fps == "24":
        # 1/24 s is written as 0.042: the frame is due at its step all the same, and never one step late.
        assert numbers == list(range(48))
    for step, number in enumerate(numbers):
        # Matroska cannot say it more exactly than to a millisecond.
        assert number / Fraction(fps) <= Fraction(step, STEPS) + Fraction(1, 1000)
        assert number == numbers[-1] or (number + 1) / Fraction(fps) > Fraction(step, STEPS) - Fraction(1, 1000)


@pytest.mark.parametrize("fps", ["12", "30000/1001", "60"])
def test_the_fallback_chooses_the_same_frames(helpers, render_clip, read_numbers, monkeypatch, fps):
    def refuse(job, helpers, *, timeout_sec):
        raise VideoError("decord: was told to fail")

    path = render_clip("clip.mp4", fps=fps)
    by_decord, expected = decode(helpers, path)
    monkeypatch.setattr(reader, "_decode_with_decord", refuse)
    decoded, frames = decode(helpers, path)
    assert (decoded.decoder, decoded.note) == ("ffmpeg", "decord: was told to fail")
    assert (decoded.num_frames, decoded.duration_sec) == (by_decord.num_frames, by_decord.duration_sec)
    assert read_numbers(frames) == read_numbers(expected)


@pytest.mark.parametrize("force_ffmpeg", [False, True])
def test_variable_frame_rate(helpers, render_clip, read_numbers, monkeypatch, force_ffmpeg):
    # Frame n at n * (n + 1) / 300 s: gaps grow from 6.7 to 200 ms, and the last frame stays.
    variable = ["-vf", "settb=1/3000,setpts=N*(N+1)*10", "-vsync", "vfr", "-enc_time_base", "1/3000"]
    path = render_clip("clip.mp4", *variable, "-c:v", "libx264", "-bf", "2", frames=30)
    if force_ffmpeg:
        monkeypatch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
    _, frames = decode(helpers, path)
    times = [Fraction(number * (number + 1), 300) for number in range(30)]
    assert len(frames) > 2.9 * STEPS
    assert read_numbers(frames) == shown(times, range(30), len(frames))


def _raise(error):
    raise error


def test_edit_list(helpers, render_clip, run_ffmpeg, read_numbers):
    whole = render_clip("whole.mp4", "-c:v", "libx264", "-g", 100, fps="30")
    path = whole.with_name("cut.mp4")
    run_ffmpeg("-ss", "0.7", "-i", whole, "-c", "copy", path)  # begins between key frames: the rest is hidden
    decoded, frames = decode(helpers, path)
    # Frame 21 is presented at 0.7 s, the new beginning.
    times = [Fraction(number - 21, 30) for number in range(21, 60)]
    assert "edit list" in decoded.note
    assert read_numbers(frames) == shown(times, range(21, 60), len(frames))
    assert abs(len(frames) - 1.3 * STEPS) <= 1


@pytest.mark.parametrize("force_ffmpeg", [False, True])
def test_a_clock_that_does_not_begin_at_zero(helpers, render_clip, read_numbers, monkeypatch, force_ffmpeg):
    path = render_clip("clip.ts", "-c:v", "libx264", "-muxdelay", 5, fps="25")
    assert min(presented(path)) > 1
    if force_ffmpeg:
        monkeypatch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
    _, frames = decode(helpers, path)
    assert read_numbers(frames) == shown([Fraction(number, 25) for number in range(50)], range(50), len(frames))
    assert len(frames) == 48


@pytest.mark.parametrize("force_ffmpeg", [False, True])
def test_a_picture_that_begins_after_the_sound(
    helpers, render_clip, run_ffmpeg, read_numbers, monkeypatch, force_ffmpeg
):
    silent = render_clip("silent.mp4", fps="30")
    path = silent.with_name("late.mp4")
    sound = ["-f", "lavfi", "-i", "sine=d=3"]
    run_ffmpeg("-itsoffset", "0.5", "-i", silent, *sound, "-map", "0", "-map", "1", "-c:v", "copy", path)
    if force_ffmpeg:
        monkeypatch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
    _, frames = decode(helpers, path)
    times = [Fraction(1, 2) + Fraction(number, 30) for number in range(60)]
    assert len(frames) == 60
    assert read_numbers(frames) == shown(times, range(60), len(frames))


def test_rotation_is_honoured_by_both_decoders(helpers, render_clip, run_ffmpeg, read_numbers, monkeypatch):
    upright = render_clip("upright.mp4", frames=12)
    found = set()
    for degrees in (90, 180, 270):
        path = upright.with_name(f"turned{degrees}.mp4")
        run_ffmpeg("-i", upright, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", path)
        if probe_video(helpers.prober, path, timeout_sec=20)["rotation"] == 0:  # ffmpeg 6 and later
            run_ffmpeg("-display_rotation", degrees, "-i", upright, "-c", "copy", path)
        rotation = probe_video(helpers.prober, path, timeout_sec=20)["rotation"]
        found.add(rotation)
        for decoder in ("decord", "ffmpeg"):
            with monkeypatch.context() as patch:
                if decoder == "ffmpeg":
                    patch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
                decoded, frames = decode(helpers, path)
            assert decoded.decoder == decoder, decoded.note
            # A player turns the picture clockwise: turning it back must give the bar code again.
            back = np.rot90(frames, rotation // 90, axes=(1, 2))
            assert read_numbers(back) == list(range(12))
    assert found == {90, 180, 270}


def test_large_pictures_are_resized_by_decord(helpers, render_clip, read_numbers):
    decoded, frames = decode(helpers, render_clip("clip.mp4", fps="30"), short_side=32)
    assert (decoded.decoder, decoded.width, decoded.height) == ("decord", 64, 32)
    enlarged = frames.repeat(2, axis=1).repeat(2, axis=2)
    assert read_numbers(enlarged) == shown([Fraction(number, 30) for number in range(60)], range(60), 48)


@pytest.mark.parametrize("force_ffmpeg", [False, True])
def test_a_picture_that_changes_its_size(helpers, render_clip, read_numbers, monkeypatch, force_ffmpeg):
    codec = ["-c:v", "libx264", "-bf", 0]
    path = render_clip("clip.ts", *codec, frames=24)
    larger = render_clip("larger.ts", *codec, "-vf", "scale=256:128", "-output_ts_offset", 1, frames=24)
    path.write_bytes(path.read_bytes() + larger.read_bytes())
    if force_ffmpeg:
        monkeypatch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
    _, frames = decode(helpers, path)
    assert read_numbers(frames) == [*range(24), *range(24)]


def test_a_cut_off_file_gives_the_frames_that_are_there(helpers, render_clip, read_numbers):
    path = render_clip("clip.mp4", "-c:v", "libx264", "-movflags", "+faststart", "-g", 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    decoded, frames = decode(helpers, path)
    numbers = read_numbers(frames)
    assert 12 < len(numbers) < 40
    # The frame that the cut goes through may repeat the one before it.
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert "the picture ends at" in decoded.note and decoded.note.endswith("of 2.00 s")


def test_a_frame_lost_in_the_middle_does_not_move_the_others(helpers, render_clip, read_numbers):
    path = render_clip("clip.mp4", "-c:v", "libx264", "-g", 1)
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=pos,size", "-of", "csv=p=0", path]
    sizes, places = np.loadtxt(
        subprocess.run(command, capture_output=True, check=True).stdout.split(), dtype=int, delimiter=","
    ).T
    content = bytearray(path.read_bytes())
    content[places[20] : places[20] + sizes[20]] = bytes(sizes[20])
    path.write_bytes(content)
    decoded, frames = decode(helpers, path)
    assert decoded.decoder == "ffmpeg" and "47 of 48 frames decode" in decoded.note
    assert read_numbers(frames) == [*range(20), 19, *range(21, 48)]


def test_a_codec_without_time_stamps_in_its_container(helpers, render_clip, read_numbers):
    path = render_clip("clip.avi", "-c:v", "mpeg4", "-bf", 2, "-q:v", 2, fps="25")
    decoded, frames = decode(helpers, path)
    numbers = read_numbers(frames)
    expected = shown([Fraction(number, 25) for number in range(50)], range(50), len(frames))
    assert numbers == expected, decoded


def test_a_file_without_frames_is_refused_with_a_reason(helpers, render_clip):
    path = render_clip("clip.mp4", "-c:v", "libx264", "-movflags", "+faststart")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])
    picture = Picture(path, 128, 64, 0, 2.0)
    with pytest.raises(VideoError):
        decode_video(helpers, picture, target=path.with_suffix(".kept"), fps=24, short_side=64, timeout_sec=20)


def read_all(pipeline):
    data, buffer = b"", memoryview(bytearray(100))
    while got := pipeline.readinto(buffer):
        data += buffer[:got]
    return data


def test_a_command_that_hangs_is_killed():
    begin = time.monotonic()
    with pytest.raises(VideoError, match="longer than 1 s"), Pipeline(timeout_sec=1) as pipeline:
        pipeline.add_command(["sleep", "60"])
        read_all(pipeline)
    assert time.monotonic() - begin < 5
    assert pipeline._process.returncode == -9


def test_a_command_that_aborts_is_an_error_of_the_video():
    with Pipeline(timeout_sec=20) as pipeline:
        pipeline.add_command([sys.executable, "-c", "import os; os.write(1, b'some'); os.abort()"])
        assert read_all(pipeline) == b"some"
        with pytest.raises(VideoError, match="signal 6"):
            pipeline.finish()


def test_a_decord_that_cannot_start_is_an_error_of_the_video(helpers, render_clip, monkeypatch):
    monkeypatch.setattr(helpers.decord, "_process", None)
    monkeypatch.setenv("PYTHONPATH", str(render_clip("clip.mp4").parent))
    (render_clip("clip.mp4").parent / "decord.py").write_text("raise ImportError\n")
    decoded, _ = decode(helpers, render_clip("clip.mp4"))
    assert (decoded.decoder, decoded.note) == ("ffmpeg", "decord's process died")


def test_the_size_keeps_the_aspect_and_is_even():
    assert kept_size(480, 270, short_side=256) == (456, 256)
    assert kept_size(270, 480, short_side=256) == (256, 456)
    assert kept_size(480, 360, short_side=256) == (342, 256)
    with pytest.raises(VideoError, match="elongated"):
        kept_size(10000, 10, short_side=256)


def test_both_decoders_give_the_same_picture_of_a_real_video(shared_data, helpers, tmp_path, monkeypatch):
    path = tmp_path / "video.mp4"
    path.symlink_to(Path(shared_data / "videos" / "v_ZNVhz7ctTq0.mp4").resolve())
    _, one = decode(helpers, path, short_side=128)
    monkeypatch.setattr(reader, "_decode_with_decord", lambda *_, **__: _raise(VideoError("no")))
    _, other = decode(helpers, path, short_side=128)
    assert one.shape == other.shape
    # Not bit for bit: two versions of libavcodec and libswscale. Two levels of 255 on average are invisible.
    assert np.abs(one[::24].astype(np.int16) - other[::24]).mean() < 2
