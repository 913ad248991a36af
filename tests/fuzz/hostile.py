"""Hostile files out of a few good ones: bytes flipped, cut, spliced and claimed to be other than they are."""

import json
import os
import random
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import clips

FAST = ("-c:v", "libx264", "-preset", "ultrafast")
MEDIA = {
    ".mp4": (*FAST, "-bf", 2),
    ".mkv": (*FAST, "-bf", 2),
    ".webm": ("-c:v", "libvpx", "-deadline", "realtime"),
    ".avi": ("-c:v", "mpeg4", "-q:v", 2),
    ".mov": (*FAST, "-bf", 0, "-movflags", "+faststart"),
    ".gif": ("-pix_fmt", "rgb8"),
}
_EXTREMES = (0, 1, 2, 0x7F, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# Fields of headers that say how much, how long or how large: more is won by hitting these than by chance.
_MARKS = (
    *(b"mvhd", b"mdhd", b"tkhd", b"elst", b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"stss", b"avc1", b"hdlr"),
    *(b"dref", b"moov", b"trak", b"mdat", b"ftyp", b"avih", b"strh", b"strf", b"idx1", b"LIST", b"movi", b"GIF8"),
    *(
        b"\x1aE\xdf\xa3",
        b"\x18S\x80g",
        b"\x15I\xa9f",
        b"\x16T\xaek",
        b"\x1fC\xb6u",
        b"\xae",
        b"\xe0",
        b"\xb0",
        b"\x2a\xd7\xb1",
    ),
)
_NAMES = (
    *(' blanks  and "quotes"', "it's; touch x", "$(touch x)", "`touch x`", "-i", "--help", "%d%s%n", "*?[a]", "|cat"),
    *(
        "concat:a.mp4",
        "http:%2f%2flocalhost",
        "файл 視頻 🎬",
        "a" * 200,
        "=1+1",
        "@SUM(A1)",
        "e\u0301",
        "~root",
        "#x&y",
        "...",
    ),
    *("\u202egpj", "&lt;b&gt;", "<script>alert(1)", "NUL", "a:b", "{shard}", "{{x}}"),
)
_PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile '{secret}'\n",
    "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\na=rtpmap:96 H264/90000\n",
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]><MPD><Period><BaseURL>&e;</BaseURL></Period></MPD>',
    "[playlist]\nFile1={secret}\n",
    "; a script of subtitles\n[Script Info]\nTitle: {secret}\n",
)


def seeds(folder: Path) -> dict[str, bytes]:
    """Six clips of a second, by the end of their names."""
    rendered = {end: clips.render(folder / f"seed{end}", *options, frames=24) for end, options in MEDIA.items()}
    return {end: path.read_bytes() for end, path in rendered.items()}


def mutated(whole: bytes, others: list[bytes], random: random.Random) -> tuple[str, bytes]:
    """What was done, and the bytes; up to three things at once."""
    done = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        way = random.choice(_WAYS)
        whole = way(whole, others, random)
        done.append(way.__name__.strip("_"))
    return "+".join(done), whole


def _flip(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(random.choice((1, 2, 8, 64, 512))):
        if data:
            data[random.randrange(len(data))] ^= random.randrange(1, 256)
    return bytes(data)


def _flip_head(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    return _flip(whole[:1024], others, random) + whole[1024:]


def _cut(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    return whole[: random.randrange(len(whole) + 1)]


def _remove(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    begin = random.randrange(len(whole) + 1)
    return whole[:begin] + whole[begin + random.choice((1, 4, 100, 5000)) :]


def _repeat(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    begin, size = random.randrange(len(whole) + 1), random.choice((4, 100, 5000))
    return whole[:begin] + whole[begin : begin + size] * random.choice((2, 30)) + whole[begin + size :]


def _splice(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    other = random.choice(others)
    return whole[: random.randrange(len(whole) + 1)] + other[random.randrange(len(other) + 1) :]


def _join(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    return whole + random.choice(others)


def _claim(whole: bytes, others: list[bytes], random: random.Random) -> bytes:
    """Set a number of 32 bits in or before a header to an extreme."""
    data = bytearray(whole)
    places = [place for mark in _MARKS if (place := whole.find(mark)) >= 0]
    for _ in range(random.choice((1, 2, 4))):
        place = random.choice(places or [0]) + random.choice((-4, *range(0, 64, 4)))
        value = random.choice((*_EXTREMES, random.randrange(1 << 32)))
        if 0 <= place <= len(data) - 4:
            data[place : place + 4] = struct.pack(random.choice("<>") + "I", value)
    return bytes(data)


_WAYS: list[Callable[[bytes, list[bytes], random.Random], bytes]] = [
    _flip, _flip_head, _cut, _remove, _repeat, _splice, _join, _claim, _claim, _claim,
]  # fmt: skip


def media(folder: Path, count: int, seed: int, secret: Path) -> dict[str, str]:
    """Fill a folder with hostile videos; by id what each is.

    Args:
        secret: a file that playlists and links try to lead to.
    """
    source = random.Random(seed)
    given = seeds(secret.parent)
    made: dict[str, str] = {}
    numbers = iter(range(1 << 30))
    while len(made) < count:
        number = next(numbers)
        end = source.choice(list(given))
        kind = source.random()
        name = f"{number:05d}"
        if kind < 0.04:
            name += source.choice(_NAMES)
        path = folder / f"{name}{end}"
        if 0.04 <= kind < 0.07:
            what, content = "playlist", source.choice(_PLAYLISTS).format(secret=secret).encode()
        elif 0.07 <= kind < 0.09:
            what, content = "archive", _archive(folder.parent, given, source)
        elif 0.09 <= kind < 0.10:
            what = _special(path, secret, source)
            made[name] = f"{end} {what}"
            continue
        else:
            what, content = mutated(given[end], list(given.values()), source)
        path.write_bytes(content)
        made[name] = f"{end} {what}"
    return made


def _archive(folder: Path, given: dict[str, bytes], random: random.Random) -> bytes:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(random.choice(("../x.mp4", "x.mp4")), random.choice((given[".mp4"], bytes(10_000_000))))
    content = path.read_bytes()
    path.unlink()
    return random.choice((content, b"\x1f\x8b\x08" + content, b"7z\xbc\xaf\x27\x1c" + content, b"Rar!" + content))


def _special(path: Path, secret: Path, random: random.Random) -> str:
    """What is named like a video and is no file, or a link."""
    what = random.choice(("pipe", "socket", "folder", "link to nothing", "link to itself", "link to zeros", "link out"))
    if what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        here = os.open(path.parent, os.O_DIRECTORY)  # a socket's whole path is at most a hundred letters
        before = os.open(".", os.O_DIRECTORY)
        os.fchdir(here)
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(path.name)
        os.fchdir(before)
        os.close(here)
        os.close(before)
    elif what == "folder":
        path.mkdir()
    else:
        targets = {"link to nothing": "nowhere", "link to itself": path.name, "link to zeros": "/dev/zero"}
        path.symlink_to(targets.get(what, secret))
    return what


# Values that no annotation should have.
_ODD = (
    None, True, -1, 1e308, float("nan"), float("inf"), 10**400, "", " ", "..", "a/../b", "\x00", "\x1b[31mred\x07",
    "\ud800", "\u202e", "=cmd|' /C calc'!A0", "x" * 100_000, [], {}, [[]], [None, None], {"a": {"b": []}}, "1:61",
)  # fmt: skip


def odd_json(value: object, random: random.Random) -> object:
    """A JSON value with a few of its parts replaced, taken away or doubled."""
    if random.random() < 0.05:
        return json.loads(json.dumps(random.choice(_ODD)))
    if isinstance(value, dict):
        kept = {key: odd_json(own, random) for key, own in value.items() if random.random() > 0.03}
        if random.random() < 0.03:
            kept[random.choice(("video", "..", "", "timestamps", "annotations"))] = random.choice(_ODD)
        return kept
    if isinstance(value, list):
        return [odd_json(own, random) for own in value for _ in range(random.choice((0, 1, 1, 1, 1, 1, 1, 1, 2)))]
    return value
