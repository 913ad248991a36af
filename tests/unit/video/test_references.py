"""QuickTime files whose pictures lie in another file: no decoder is to go there."""

import struct
import subprocess

import clips
import pytest

from vmr.errors import VideoError
from vmr.video.probe import probe_video


def grow(content, path, old, new):
    """Replace bytes inside boxes, and give all boxes of the path to it their new size."""
    place, data = 0, bytearray(content)
    for box in path:
        place = data.index(box, place)
        (size,) = struct.unpack(">I", data[place - 4 : place])
        data[place - 4 : place] = struct.pack(">I", size + len(new) - len(old))
    place = data.index(old, place)
    data[place : place + len(old)] = new
    return bytes(data)


def alias(target):
    """An entry of `dref` that leads to a file by its absolute path, as FFmpeg reads it."""
    where = str(target).encode()
    head = bytes(10) + bytes([1]) + b"V" + bytes(26) + bytes(12) + bytes([8]) + b"secret.x".ljust(63, b"\0") + bytes(16)
    levels = struct.pack(">hh", 1, 1) + bytes(16)
    record = head + levels + struct.pack(">hh", 18, len(where)) + where + bytes(len(where) % 2)
    record += struct.pack(">hh", 2, len(where)) + where + bytes(len(where) % 2) + struct.pack(">hh", -1, 0)
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def test_a_reference_to_another_file_is_not_followed(tmp_path, decord):
    secret = clips.render(tmp_path / "secret.mov", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", frames=4)
    whole = secret.read_bytes()
    own = whole[whole.index(b"dref") + 12 :][:12]
    assert own == struct.pack(">I4sI", 12, b"url ", 1)
    leading = grow(whole, [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"], own, alias(secret))
    begin = leading.index(b"mdat") + 4
    end = begin + struct.unpack(">I", leading[begin - 8 : begin - 4])[0] - 8
    path = tmp_path / "leading.mov"
    path.write_bytes(leading[:begin] + bytes(end - begin) + leading[end:])  # no picture of its own
    read = ["ffmpeg", "-v", "error", "-enable_drefs", "1", "-use_absolute_path", "1", "-i", path, "-f", "null", "-"]
    assert b"rror" not in subprocess.run(read, capture_output=True).stderr, "the file is not what it is meant to be"
    assert probe_video(path, timeout_sec=20)["status"] == "ok"  # by its headers
    with pytest.raises(VideoError, match=r"no packets|no frame"):
        clips.decode(decord, path)
