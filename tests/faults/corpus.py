"""Videos that are broken in every way that we know of, and good ones among them, made with ffmpeg and a seed."""

import struct
from pathlib import Path

import clips
import numpy as np

FRAMES = 12
FAST = ["-c:v", "libx264", "-preset", "ultrafast"]
# What becomes of each video for certain; the others may end either way, but with a reason or with features.
GOOD = {
    "plain": 12,
    "one frame": 1,
    ' it\'s "50% ünï" 視頻 $HOME; #1': 12,
    "no rate": 12,
    "rate zero": 12,
    "in a link": 12,
}
BAD = {
    "empty": "the file is empty",
    "text": "ffprobe cannot read it",
    "sound only": "no video stream (the file has: audio)",
    "folder": "not a regular file",
    "link to nothing": "No such file",
    "header only": "ffprobe cannot read it",
    "declares 16384x16384": "the size of the picture is unknown",
    "declares 16000x16000": "more than 67 million pixels",
    "noise": "ffprobe cannot read it",
}


def make_corpus(folder: Path) -> None:
    """Fill a folder with the videos of `GOOD` and `BAD`, and with truncated and damaged ones."""
    plain = clips.render(folder / "plain.mp4", *FAST, "-bf", 2, frames=FRAMES)
    whole = plain.read_bytes()
    (folder / ' it\'s "50% ünï" 視頻 $HOME; #1.mp4').write_bytes(whole)
    (folder / "in a link.mp4").symlink_to(plain)
    clips.render(folder / "one frame.mp4", *FAST, frames=1)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video at all, only words\n" * 100)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(20_000))
    (folder / "header only.mp4").write_bytes(whole[:40])
    clips.ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", folder / "sound only.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "link to nothing.mp4").symlink_to(folder / "nothing.mp4")
    _without_rate(folder)
    _declare_size(folder)
    _truncate(folder)
    _flip(folder)


def _without_rate(folder: Path) -> None:
    # A bare stream that says nothing of time, under a name that promises a container.
    timeless = ["-bsf:v", "h264_metadata=tick_rate=0", "-x264-params", "force-cfr=1:nal-hrd=none"]
    bare = clips.render(folder / "bare.h264", *FAST, *timeless, frames=FRAMES)
    bare.rename(folder / "no rate.mp4")
    # An AVI whose headers name no rate: microseconds of a frame in `avih`, scale and rate in `strh`.
    clip = clips.render(folder / "clip.avi", "-c:v", "mpeg4", "-q:v", 2, frames=FRAMES)
    content = bytearray(clip.read_bytes())
    place = content.index(b"avih") + 8
    content[place : place + 4] = bytes(4)
    place = content.index(b"strh") + 8
    content[place + 20 : place + 28] = bytes(8)
    (folder / "rate zero.avi").write_bytes(content)
    clip.unlink()


def _declare_size(folder: Path) -> None:
    clip = clips.render(folder / "clip.avi", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", frames=3)
    whole = clip.read_bytes()
    clip.unlink()
    for side in (16000, 16384):  # libavutil takes pictures up to 16383x16383
        content = whole.replace(struct.pack("<II", clips.WIDTH, clips.HEIGHT), struct.pack("<II", side, side))
        frame_header = b"\xff\xc0\x00\x11\x08"
        small, huge = (struct.pack(">HH", *size) for size in ((clips.HEIGHT, clips.WIDTH), (side, side)))
        content = content.replace(frame_header + small, frame_header + huge)
        (folder / f"declares {side}x{side}.avi").write_bytes(content)


def _truncate(folder: Path) -> None:
    for name, options in {
        "cut moov first.mp4": [*FAST, "-bf", 0, "-movflags", "+faststart"],
        "cut moov last.mp4": [*FAST, "-bf", 2],
        "cut.mkv": [*FAST, "-bf", 2],
    }.items():
        clip = clips.render(folder / name, *options, frames=FRAMES)
        whole = clip.read_bytes()
        for tenths in range(1, 10):
            clip.with_stem(f"{clip.stem} at {tenths}").write_bytes(whole[: len(whole) * tenths // 10])
        clip.unlink()


def _flip(folder: Path) -> None:
    random = np.random.default_rng(3)
    for name in ("flipped.mp4", "flipped.mkv"):
        clip = clips.render(folder / name, *FAST, "-movflags", "+faststart", frames=FRAMES)
        whole = np.frombuffer(clip.read_bytes(), np.uint8)
        for number, flips in enumerate((1, 3, 10, 30, 100, 1000)):
            damaged = whole.copy()
            damaged[random.integers(len(whole), size=flips)] ^= random.integers(1, 256, size=flips, dtype=np.uint8)
            clip.with_stem(f"{clip.stem} {number} {clip.suffix[1:]}").write_bytes(damaged.tobytes())
        clip.unlink()
