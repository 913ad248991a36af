"""The frame on display at each step is chosen, whatever the rate, container, codec and clock, by both decoders.

Every frame carries its number. Where a file is cut so that its own frames say what is to be shown, ffprobe's decoder,
frame by frame, is the reference; elsewhere the exact times of the frames are. Of the choice `nearest` it is ffmpeg.
"""

from fractions import Fraction

import numpy as np
import pytest
from clips import HEIGHT, STEPS, WIDTH, decode, packets, presented, shown

from vmr.video.probe import probe_video
from vmr.video.timeline import read_timeline

RATES = ["6", "12", "15000/1001", "981/50", "24000/1001", "24", "25", "30000/1001", "30", "60"]
# A group of pictures every half a second: a decoder that loses one is found out.
X264 = ["-c:v", "libx264", "-bf", 2, "-g", 12]
OPEN_X264 = ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0"]
OPEN_X265 = ["-c:v", "libx265", "-x265-params", "open-gop=1:keyint=12:bframes=3:scenecut=0:log-level=none:pools=1"]
MPEG2 = ["-c:v", "mpeg2video", "-bf", 2, "-g", 12, "-q:v", 2]  # its groups are open
MPEG4 = ["-c:v", "mpeg4", "-bf", 2, "-g", 12, "-q:v", 2]
# Frame n at n * (n + 1) / 300 s: gaps grow from 6.7 ms on.
VARIABLE = ["-vf", "settb=1/3000,setpts=N*(N+1)*10", "-fps_mode", "vfr", "-enc_time_base", "1/3000"]
# Where frames were given their times, ffmpeg 7 writes no duration of the last one.
LAST_DURATION = ["-bsf:v", "setts=pts=PTS:dts=DTS:duration=1/24/TB"]


@pytest.fixture(params=["first", "ffmpeg"])
def decoder(request, refuse_decord):
    """Which decoder is tried: the one that comes first for such a file, then ffmpeg in any case."""
    if request.param == "ffmpeg":
        refuse_decord()
    return request.param


def expected(fps, steps, *, count=None):
    count = count or round(2 * Fraction(fps))
    return shown([number / Fraction(fps) for number in range(count)], range(count), steps)


def assert_shown_to_a_millisecond(numbers, fps):
    """Matroska cannot say it more exactly."""
    if fps == "24":
        # 1/24 s is written as 0.042: the frame is due at its step all the same, and never one step late.
        assert numbers == list(range(48))
    for step, number in enumerate(numbers):
        assert number / Fraction(fps) <= Fraction(step, STEPS) + Fraction(1, 1000)
        assert number == numbers[-1] or (number + 1) / Fraction(fps) > Fraction(step, STEPS) - Fraction(1, 1000)


@pytest.mark.parametrize("fps", RATES)
def test_every_rate(decord, render_clip, read_numbers, decoder, fps):
    decoded, frames = decode(decord, render_clip("clip.mp4", *X264, fps=fps))
    if decoder == "first":
        assert (decoded.decoder, decoded.note) == ("decord", "")
    else:
        assert (decoded.decoder, decoded.note) == ("ffmpeg", "decord: was told to fail")
    # ceil(duration * 24): 48 steps for 2.0 s, 49 for the 2.002 s of the 1001-rates.
    assert decoded.num_frames == -(-round(2 * Fraction(fps)) * STEPS // Fraction(fps))
    assert read_numbers(frames) == expected(fps, len(frames))


@pytest.mark.parametrize("fps", RATES)
def test_every_rate_with_time_stamps_rounded_to_milliseconds(decord, render_clip, read_numbers, fps):
    assert_shown_to_a_millisecond(read_numbers(decode(decord, render_clip("clip.mkv", *X264, fps=fps))[1]), fps)


@pytest.mark.parametrize(
    ("decoder", "earlier", "fps"),
    [
        *((decoder, "mkv", fps) for decoder in ("first", "ffmpeg") for fps in RATES),
        *(("first", "flv", fps) for fps in ("24", "30000/1001", "60")),
    ],
    indirect=["decoder"],
)
def test_milliseconds_of_an_earlier_container(decord, render_clip, run_ffmpeg, read_numbers, decoder, fps, earlier):
    """An MP4 made of a Matroska or Flash file without encoding has its rounded stamps, in ticks that are finer."""
    path = render_clip(f"clip.{earlier}", *X264, fps=fps).with_name("remuxed.mp4")
    run_ffmpeg("-i", path.with_name(f"clip.{earlier}"), "-c", "copy", path)
    decoded, frames = decode(decord, path)
    assert decoded.decoder == ("decord" if decoder == "first" else "ffmpeg")
    assert_shown_to_a_millisecond(read_numbers(frames), fps)


def test_milliseconds_on_both_sides(decord, render_clip, run_ffmpeg, read_numbers, decoder):
    # The first frame is due at 30.4 ms and written at 30, the third at 113.7 and written at 114: 84 ms for 83.3.
    later = ["-vf", "settb=1/120000,setpts=N*5000+3648", "-fps_mode", "vfr", "-enc_time_base", "1/120000"]
    path = render_clip("clip.mp4", *later, "-c:v", "libx264", "-bf", 0, *LAST_DURATION).with_name("clip.mkv")
    run_ffmpeg("-copyts", "-i", path.with_suffix(".mp4"), "-c", "copy", path)
    assert probe_video(path, timeout_sec=20)["start_sec"] == 0.03
    assert read_numbers(decode(decord, path)[1]) == list(range(48))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mov", X264),
        ("flv", X264),
        ("ts", X264),
        ("avi", X264),
        ("mpeg4.avi", MPEG4),
        ("mpeg2.ts", MPEG2),
        ("mpeg2.mpg", MPEG2),
        ("mpeg2.mkv", MPEG2),
        ("open.mp4", OPEN_X264),
        ("open.265.mp4", OPEN_X265),
        ("open.265.ts", OPEN_X265),
        ("fragmented.mp4", [*X264, "-movflags", "frag_keyframe+empty_moov"]),
        ("without edit list.mp4", [*X264, "-use_editlist", 0]),
        ("webm", ["-c:v", "libvpx", "-g", 12, "-b:v", "1M"]),
        ("wmv", ["-c:v", "wmv2", "-g", 12, "-q:v", 2]),
        ("still.mkv", ["-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", "yuvj420p"]),
    ],
)
def test_every_container_and_codec(decord, render_clip, read_numbers, decoder, name, options):
    decoded, frames = decode(decord, render_clip(f"clip.{name}", *options, fps="25"))
    assert read_numbers(frames) == expected("25", 48), decoded
    assert "ends at" not in decoded.note


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "flv"])
def test_a_clock_that_does_not_begin_at_zero(decord, render_clip, run_ffmpeg, read_numbers, decoder, container):
    path = render_clip(f"whole.{container}", *X264, fps="25").with_name(f"later.{container}")
    run_ffmpeg("-i", path.with_stem("whole"), "-c", "copy", "-output_ts_offset", 1.5, path)
    assert probe_video(path, timeout_sec=20)["start_sec"] > 1
    decoded, frames = decode(decord, path)
    assert read_numbers(frames) == expected("25", 48)
    assert "ends at" not in decoded.note, "nothing is missing"


@pytest.mark.parametrize(("container", "options"), [("ts", X264), ("mpg", MPEG2), ("mkv", X264)])
def test_a_clock_that_is_reset_is_refused(decord, render_clip, run_ffmpeg, read_numbers, container, options):
    """Two files joined byte by byte: the frames of the second would stand among those of the first."""
    path = render_clip(f"part.{container}", *options, fps="25").with_name(f"joined.{container}")
    path.write_bytes(2 * path.with_stem("part").read_bytes())
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "bad"
    assert "its clock is reset: after" in row["reason"] and "`ffmpeg -i OLD -c copy NEW.mp4`" in row["reason"]
    if container == "ts":  # what the message says is true
        run_ffmpeg("-i", path, "-c", "copy", path.with_suffix(".mp4"))
        numbers = read_numbers(decode(decord, path.with_suffix(".mp4"))[1])
        assert numbers == shown([Fraction(n, 25) for n in range(100)], [*range(50), *range(50)], 96)


def test_variable_frame_rate(decord, render_clip, read_numbers, decoder):
    _, frames = decode(decord, render_clip("clip.mp4", *VARIABLE, *X264, frames=30))  # the last frame stays
    times = [Fraction(number * (number + 1), 300) for number in range(30)]
    assert len(frames) > 2.8 * STEPS  # how long it stays, versions of ffmpeg write differently
    assert read_numbers(frames) == shown(times, range(30), len(frames))


def test_a_gap_in_the_time_stamps(decord, render_clip, read_numbers, decoder):
    # A camera that stood still: after frame 19 nothing for a second.
    gap = ["-vf", "settb=1/3000,setpts=N*100+gte(N\\,20)*3000", "-fps_mode", "vfr", "-enc_time_base", "1/3000"]
    _, frames = decode(decord, render_clip("clip.mp4", *gap, *X264, frames=40))
    times = [Fraction(number, 30) + (number >= 20) for number in range(40)]
    assert read_numbers(frames) == shown(times, range(40), 56)


@pytest.mark.parametrize(
    ("decoder", "container"),
    [("first", "mp4"), ("first", "mkv"), ("first", "ts"), ("ffmpeg", "mp4")],  # of ts ffmpeg is the first
    indirect=["decoder"],
)
@pytest.mark.parametrize("fps", ["15", "24", "25", "30000/1001", "30", "48", "50", "60", "variable"])
def test_the_nearest_frame_is_that_of_ffmpegs_filter(
    decord, render_clip, run_ffmpeg, read_numbers, decoder, fps, container
):
    variable = fps == "variable"
    if variable:  # by way of an MP4: where frames were given their times, ffmpeg 7 makes no Matroska with a rate
        path = render_clip("clip.mp4", *VARIABLE, *X264, *LAST_DURATION, frames=24).with_suffix(f".{container}")
        if container != "mp4":
            run_ffmpeg("-i", path.with_suffix(".mp4"), "-c", "copy", path)
    else:
        path = render_clip(f"clip.{container}", *X264, fps=fps, frames=24)
    raw = run_ffmpeg(
        "-i", path, "-vf", "fps=24", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
    )
    theirs = read_numbers(np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3))
    decoded, frames = decode(decord, path, choice="nearest")
    ours = read_numbers(frames)
    assert decoded.decoder == ("decord" if decoder == "first" and container != "ts" else "ffmpeg")
    # ffmpeg leaves out a last step that lies beyond the end by more than half, and knows no end of a last frame here.
    assert len(ours) - len(theirs) in (range(-1, 5) if variable else range(2))
    assert "could be filled" not in decoded.note
    assert ours[: len(theirs)] == theirs[: len(ours)]
    if fps in ("30", "60"):  # so the test can tell the two apart
        assert theirs != expected(fps, len(theirs), count=24)


@pytest.mark.parametrize("name", ["3MSZA.mp4", "nasa_13013.mp4", "video_90.mov"])
def test_the_nearest_frames_of_real_videos(shared_data, run_ffmpeg, name):
    path = shared_data / "videos" / name

    def checksums(*options):
        said = run_ffmpeg("-i", path, "-map", "0:v:0", *options, "-fps_mode", "passthrough", "-f", "framemd5", "-")
        return [line.split(b",")[-1] for line in said.splitlines() if not line.startswith(b"#")]

    every, theirs = checksums(), checksums("-vf", "fps=24")
    chosen = read_timeline(path, timeout_sec=20).frame_indices(STEPS, "nearest")
    assert [every[index] for index in chosen[: len(theirs)]] == theirs


@pytest.mark.parametrize("begin_ms", [30, 500])  # one frame, and a quarter of them, before zero
@pytest.mark.parametrize("options", [[*X264, "-bf", 0], X264])
def test_matroska_that_begins_before_zero(decord, render_clip, read_numbers, options, begin_ms):
    """Its reader hides the stamps below zero; the frames follow each other as they did in the clip all the same."""
    path = render_clip("clip.mkv", *options, "-output_ts_offset", -begin_ms / 1000, "-avoid_negative_ts", "disabled")
    before = [number for number in range(48) if round(number * 1000 / 24) < begin_ms]
    timeline = read_timeline(path, timeout_sec=20)
    assert (timeline.counted_frames, timeline.has_times) == (len(before), True)
    assert timeline.times_sec == pytest.approx([number / 24 for number in range(48)], abs=0.0015)
    decoded, frames = decode(decord, path)
    assert read_numbers(frames) == list(range(48))
    assert "before zero on its clock" in decoded.note and "could be filled" not in decoded.note


@pytest.mark.parametrize("begin", [0.6, 0.85])  # at a frame, and between two
@pytest.mark.parametrize("options", [X264, OPEN_X264, OPEN_X265])
def test_edit_lists(decord, render_clip, run_ffmpeg, read_numbers, options, begin):
    whole = render_clip("whole.mp4", *options, fps="30")
    path = whole.with_name("cut.mp4")
    run_ffmpeg("-ss", begin, "-i", whole, "-c", "copy", path)  # begins between key frames: the rest is hidden
    decoded, frames = decode(decord, path)
    assert "edit list" in decoded.note
    times = presented(path, fps=30)
    first = 60 - len(times)
    assert read_numbers(frames) == shown(times, range(first, 60), len(frames))
    assert 0 <= first / 30 - begin < 0.2 and abs(len(frames) - len(times) * STEPS / 30) <= 1


@pytest.mark.parametrize(
    ("name", "options", "begin"), [("mkv", OPEN_X264, 0.85), ("265.mkv", OPEN_X265, 0.85), ("ts", MPEG2, 1.0)]
)
def test_open_groups_cut_at_a_key_frame(decord, render_clip, run_ffmpeg, read_numbers, decoder, name, options, begin):
    # The frames that are shown before the key frame refer to the group that was cut away: nobody can decode them.
    whole = render_clip(f"whole.{name}", *options, fps="30")
    path = whole.with_name(f"cut.{name}")
    run_ffmpeg("-ss", begin, "-i", whole, "-c", "copy", path)
    decoded, frames = decode(decord, path)
    times = presented(path, fps=30)
    first = 60 - len(times)
    assert first in (12, 24, 36)
    assert read_numbers(frames) == shown(times, range(first, 60), len(frames))
    assert "frames decode" in decoded.note


def test_a_picture_that_begins_after_the_sound(decord, render_clip, run_ffmpeg, read_numbers, decoder):
    silent = render_clip("silent.mp4", *X264, fps="30")
    path = silent.with_name("late.mp4")
    sound = ["-f", "lavfi", "-i", "sine=d=3"]
    run_ffmpeg("-itsoffset", "0.5", "-i", silent, *sound, "-map", "0", "-map", "1", "-c:v", "copy", path)
    _, frames = decode(decord, path)
    times = [Fraction(1, 2) + Fraction(number, 30) for number in range(60)]
    assert len(frames) == 60
    assert read_numbers(frames) == shown(times, range(60), len(frames))


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv"])
def test_of_two_video_streams_that_of_players_is_taken(decord, render_clip, run_ffmpeg, read_numbers, name):
    """Same size, rate and length; the second, whose frames run backwards, has a higher bit rate, which decord takes."""
    first = render_clip("first.mp4", *X264, "-crf", 30)
    second = render_clip("second.mp4", *X264, "-vf", "reverse", "-crf", 1)
    path = first.with_name(name)
    run_ffmpeg("-i", first, "-i", second, "-map", 0, "-map", 1, "-c", "copy", "-disposition", 0, path)
    decoded, frames = decode(decord, path)
    assert decoded.decoder == "ffmpeg" and "it has 2 video streams; number 0 is taken" in decoded.note
    assert read_numbers(frames) == list(range(48))


def test_a_cover_picture_is_no_second_stream(decord, render_clip, run_ffmpeg, read_numbers):
    clip = render_clip("clip.mp4", *X264)
    path = clip.with_name("covered.mp4")
    cover = clip.with_name("cover.png")
    run_ffmpeg("-f", "lavfi", "-i", "color=size=64x64", "-frames:v", 1, cover)
    run_ffmpeg("-i", clip, "-i", cover, "-map", 0, "-map", 1, "-c", "copy", "-disposition:v:1", "attached_pic", path)
    decoded, frames = decode(decord, path)
    assert (decoded.decoder, decoded.note) == ("decord", "")
    assert read_numbers(frames) == list(range(48))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation(decord, render_clip, run_ffmpeg, read_numbers, decoder, degrees):
    upright = render_clip("upright.mp4", frames=12)
    path = upright.with_name("turned.mp4")
    run_ffmpeg("-i", upright, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", path)
    if probe_video(path, timeout_sec=20)["rotation"] == 0:  # ffmpeg 6 and later
        run_ffmpeg("-display_rotation", degrees, "-i", upright, "-c", "copy", path)
    rotation = probe_video(path, timeout_sec=20)["rotation"]
    assert rotation in (degrees, 360 - degrees)  # versions of ffmpeg mean it differently; what the file says counts
    decoded, frames = decode(decord, path)
    assert decoded.decoder == ("decord" if decoder == "first" else "ffmpeg"), decoded.note
    # A player turns the picture clockwise: turning it back must give the bar code again.
    assert read_numbers(np.rot90(frames, rotation // 90, axes=(1, 2))) == list(range(12))


@pytest.mark.parametrize(("tag", "rotation"), [("180", 180), ("090", 90), ("-90", 270), ("89.7", 90), ("0", 0)])
def test_rotation_by_a_tag_in_capitals(decord, render_clip, read_numbers, decoder, tag, rotation):
    """Old remuxes of phone videos; decord reads the tag in either case, ffmpeg not at all."""
    path = render_clip("turned.mkv", *X264, "-metadata:s:v:0", f"ROTATE={tag}", frames=12)
    assert probe_video(path, timeout_sec=20)["rotation"] == rotation
    decoded, frames = decode(decord, path)
    assert decoded.decoder == ("decord" if decoder == "first" and tag != "89.7" else "ffmpeg"), decoded.note
    assert read_numbers(np.rot90(frames, rotation // 90, axes=(1, 2))) == list(range(12))


@pytest.mark.parametrize("aspect", ["16/15", "4/3", "1/2"])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square(decord, render_clip, read_numbers, decoder, aspect, turned):
    tag = ["-metadata:s:v:0", "ROTATE=90"] if turned else []
    path = render_clip("wide.mkv", *X264, "-vf", f"setsar={aspect}", *tag, frames=12)
    decoded, frames = decode(decord, path)
    assert decoded.decoder == ("decord" if decoder == "first" else "ffmpeg"), decoded.note
    assert decoded.note.endswith(f"pixels {float(Fraction(aspect)):.3g} times as wide as high are stretched")
    if turned:
        frames = np.rot90(frames, axes=(1, 2))
    assert frames.shape[1] == 64 and abs(frames.shape[2] - 128 * Fraction(aspect)) <= 1
    assert read_numbers(frames[:, :, np.arange(128) * frames.shape[2] // 128]) == list(range(12))


@pytest.mark.parametrize(
    ("aspect", "note"), [("1/100", "0.01 times as wide as high are taken for square"), ("99/100", "")]
)
def test_pixels_of_a_shape_that_cannot_be_meant(decord, render_clip, aspect, note):
    decoded, frames = decode(decord, render_clip("wide.mkv", *X264, "-vf", f"setsar={aspect}", frames=4))
    assert note in decoded.note and bool(note) == bool(decoded.note)
    assert frames.shape[1:3] == (64, 128)


@pytest.mark.parametrize("tag", ["45", "180deg", "inf"])
def test_a_rotation_that_is_no_quarter_turn_is_none(decord, render_clip, read_numbers, tag):
    path = render_clip("turned.mkv", *X264, "-metadata:s:v:0", f"ROTATE={tag}", frames=12)
    decoded, frames = decode(decord, path)
    assert decoded.decoder == "ffmpeg" and tag in decoded.note
    assert read_numbers(frames) == list(range(12))


@pytest.mark.parametrize(
    ("name", "options"),
    [("mp4", X264), ("mkv", X264), ("ts", X264), ("open.mp4", OPEN_X264), ("open.mkv", OPEN_X265), ("avi", MPEG4)],
)
def test_a_truncated_tail(decord, render_clip, read_numbers, decoder, name, options):
    path = render_clip(f"clip.{name}", *options, "-movflags", "+faststart")
    position, size = packets(path)[30]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    decoded, frames = decode(decord, path)
    numbers = read_numbers(frames)
    assert 24 <= len(numbers) < 40
    # The frame that the cut goes through, and those that refer to it, repeat the one before.
    assert numbers[:-5] == list(range(len(numbers) - 5))
    assert numbers == sorted(numbers) and numbers[-1] < len(numbers)
    if name != "ts":  # which does not declare how long it is
        assert "the picture ends at" in decoded.note and decoded.note.endswith("of 2.00 s")


def test_a_frame_lost_in_the_middle_does_not_move_the_others(decord, render_clip, read_numbers):
    path = render_clip("clip.mp4", "-c:v", "libx264", "-g", 1)
    position, size = packets(path)[20]
    content = bytearray(path.read_bytes())
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    decoded, frames = decode(decord, path)
    assert decoded.decoder == "ffmpeg" and "47 of 48 frames decode" in decoded.note
    assert read_numbers(frames) == [*range(20), 19, *range(21, 48)]


@pytest.fixture
def still_end(render_clip, run_ffmpeg):
    """A clip of 12 frames that move and 4 that repeat the last one, each by itself."""
    path = render_clip("moving.mkv", "-c:v", "ffv1", frames=12).with_name("still.mkv")
    stays = ("-vf", "tpad=stop_mode=clone:stop=4", "-c:v", "mpeg2video", "-g", 1, "-q:v", 1)
    run_ffmpeg("-i", path.with_name("moving.mkv"), *stays, path)
    return path


def test_a_still_end_is_decords_where_ffmpeg_sees_as_many_frames_of_it(decord, still_end, read_numbers):
    decoded, frames = decode(decord, still_end)
    assert (decoded.decoder, decoded.note) == ("decord", "")
    assert read_numbers(frames) == [*range(12), *[11] * 4]


def test_a_frame_lost_before_a_still_end_moves_nothing(decord, still_end, read_numbers):
    # Decord loses this one without a word, and repeats the last one for it.
    content = bytearray(still_end.read_bytes())
    position, size = packets(still_end)[5]
    content[position + 4 : position + size] = b"\xff" * (size - 4)
    still_end.write_bytes(content)
    decoded, frames = decode(decord, still_end)
    assert decoded.note == "the last frames are the same: some may be lost; 15 of 16 frames decode"
    assert decoded.decoder == "ffmpeg"
    assert read_numbers(frames) == [*range(5), 4, *range(6, 12), *[11] * 4]


def test_another_count_of_the_last_frame_is_a_doubt(decord, still_end, read_numbers, monkeypatch):
    monkeypatch.setattr("vmr.video.reader._still_frames", lambda *_, **__: 3)
    decoded, frames = decode(decord, still_end)
    assert decoded.decoder == "ffmpeg" and "the last frames are the same" in decoded.note
    assert read_numbers(frames) == [*range(12), *[11] * 4]


def test_a_bare_stream_without_any_time(decord, render_clip, read_numbers):
    path = render_clip("clip.h264", *X264).rename(render_clip("clip.mp4").with_name("bare.mp4"))
    decoded, frames = decode(decord, path)
    assert read_numbers(frames) == list(range(48))
    assert decoded.decoder == "ffmpeg" and "presentation time stamps are missing" in decoded.note
