import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import decode, shown

from vmr.errors import VideoError
from vmr.video.processes import Pipeline
from vmr.video.reader import Picture, decode_video, kept_size


def test_large_pictures_are_resized_by_decord(decord, render_clip, read_numbers):
    decoded, frames = decode(decord, render_clip("clip.mp4", fps="30"), short_side=32)
    assert (decoded.decoder, decoded.width, decoded.height) == ("decord", 64, 32)
    enlarged = frames.repeat(2, axis=1).repeat(2, axis=2)
    assert read_numbers(enlarged) == shown([Fraction(number, 30) for number in range(60)], range(60), 48)


@pytest.mark.parametrize("force_ffmpeg", [False, True])
def test_a_picture_that_changes_its_size(decord, render_clip, read_numbers, refuse_decord, force_ffmpeg):
    codec = ["-c:v", "libx264", "-bf", 0]
    path = render_clip("clip.ts", *codec, frames=24)
    larger = render_clip("larger.ts", *codec, "-vf", "scale=256:128", "-output_ts_offset", 1, frames=24)
    path.write_bytes(path.read_bytes() + larger.read_bytes())
    if force_ffmpeg:
        refuse_decord()
    _, frames = decode(decord, path)
    assert read_numbers(frames) == [*range(24), *range(24)]


def test_a_file_without_frames_is_refused_with_a_reason(decord, render_clip):
    path = render_clip("clip.mp4", "-c:v", "libx264", "-movflags", "+faststart")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4])
    picture = Picture(path, 128, 64, 0, 2.0)
    with pytest.raises(VideoError):
        decode_video(
            decord,
            picture,
            target=path.with_suffix(".kept"),
            fps=24,
            frame_choice="nearest",
            short_side=64,
            timeout_sec=20,
        )


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


def test_a_decord_that_cannot_start_is_an_error_of_the_video(decord, render_clip, monkeypatch):
    monkeypatch.setattr(decord, "_process", None)
    monkeypatch.setenv("PYTHONPATH", str(render_clip("clip.mp4").parent))
    (render_clip("clip.mp4").parent / "decord.py").write_text("raise ImportError\n")
    decoded, _ = decode(decord, render_clip("clip.mp4"))
    assert (decoded.decoder, decoded.note) == ("ffmpeg", "decord's process died")


def test_the_size_keeps_the_aspect_and_is_even():
    assert kept_size(480, 270, short_side=256) == (456, 256)
    assert kept_size(270, 480, short_side=256) == (256, 456)
    assert kept_size(480, 360, short_side=256) == (342, 256)
    with pytest.raises(VideoError, match="elongated"):
        kept_size(10000, 10, short_side=256)


def test_both_decoders_give_the_same_picture_of_a_real_video(shared_data, decord, tmp_path, refuse_decord):
    path = tmp_path / "video.mp4"
    path.symlink_to(Path(shared_data / "videos" / "v_ZNVhz7ctTq0.mp4").resolve())
    _, one = decode(decord, path, short_side=128)
    refuse_decord()
    _, other = decode(decord, path, short_side=128)
    assert one.shape == other.shape
    # Not bit for bit: two versions of libavcodec and libswscale. Two levels of 255 on average are invisible.
    assert np.abs(one[::24].astype(np.int16) - other[::24]).mean() < 2
