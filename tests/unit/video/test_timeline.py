import numpy as np
import pytest

from vmr.errors import VideoError
from vmr.video.timeline import stream_end, timeline_of_packets

STREAM = {"index": 2, "time_base": "1/1000"}


def packets(*pts, duration=40):
    return [{"pts": value, "dts": value, "duration": duration, "flags": "__"} for value in pts]


def timeline(listed, *, stream=STREAM, origin_sec=0.0):
    return timeline_of_packets(listed, stream=stream, origin_sec=origin_sec)


def test_frames_are_ordered_by_presentation_time():
    found = timeline(packets(0, 120, 40, 80))
    np.testing.assert_allclose(found.times_sec, [0, 0.04, 0.08, 0.12])
    assert (found.stream_index, found.doubt) == (2, "")
    assert found.end_sec == pytest.approx(0.16)
    # 25 fps to 24: the steps are at 0, 41.7, 83.3 and 125 ms.
    assert found.frame_indices(24, "shown").tolist() == [0, 1, 2, 3]


def test_a_time_stamp_rounded_up_by_the_container_is_still_in_time():
    # 1/24 s written as 42 ms; 43 ms would be a later frame.
    assert timeline(packets(0, 42)).frame_indices(24, "shown").tolist()[:2] == [0, 1]
    assert timeline(packets(0, 43)).frame_indices(24, "shown").tolist()[:2] == [0, 0]


def test_milliseconds_are_recognized_in_finer_ticks_and_exact_stamps_stay_exact():
    # 24 frames a second: 41.667 ms, once by way of 42 ms, once in ticks of its own; 23.976: 41.708 ms, after the step.
    for stamps, scale, shown in [
        ((0, 672, 1328, 2000), 16000, [0, 1, 2, 3]),
        ((0, 538, 1062, 1600), 12800, [0, 1, 2, 3]),
        ((0, 3780, 7470, 11250), 90000, [0, 1, 2, 3]),
        ((0, 512, 1024, 1536), 12288, [0, 1, 2, 3]),
        ((0, 1001, 2002, 3003), 24000, [0, 0, 1, 2]),
    ]:
        stream = STREAM | {"time_base": f"1/{scale}"}
        assert timeline(packets(*stamps), stream=stream).frame_indices(24, "shown")[:4].tolist() == shown


def test_a_clock_of_years_is_refused_before_memory_is_taken():
    with pytest.raises(VideoError, match=r"2\.98e\+05 hours; at most 48 are read"):
        timeline(packets(0, 2**30), stream=STREAM | {"time_base": "1/1"})


def test_steps_before_the_first_frame_show_it():
    found = timeline(packets(1500, 1540), origin_sec=1.4)
    assert found.frame_indices(24, "shown").tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"flags": "_D"}, "edit list"),
        ({"pts": 0}, "same time stamp"),
    ],
)
def test_doubtful_packets_are_named(change, doubt):
    listed = packets(0, 40, 80)
    listed[1] |= change
    assert doubt in timeline(listed).doubt


@pytest.mark.parametrize(
    ("stamps", "reset"), [((0, 600, 0, 40), True), ((0, 80, 40, 120), False), ((0, 400, 0), False)]
)
def test_a_clock_may_run_backwards_by_a_few_frames_only(stamps, reset):
    if reset:
        with pytest.raises(VideoError, match=r"after 0\.60 s comes 0\.00 s"):
            timeline(packets(*stamps))
    else:
        assert len(timeline(packets(*stamps)).times_sec) == len(stamps)


def test_missing_presentation_times_are_named():
    listed = packets(0, 40, 80)
    del listed[1]["pts"]
    found = timeline(listed)
    assert "missing" in found.doubt and not found.has_times


def test_a_mirrored_picture_is_left_to_ffmpeg():
    matrix = "\n00000000:       -65536           0           0\n00000001:            0       65536           0\n"
    matrix += "00000002:            0           0  1073741824\n"
    stream = STREAM | {"side_data_list": [{"displaymatrix": matrix, "rotation": -180}]}
    assert "mirrored" in timeline(packets(0), stream=stream).doubt


def test_the_last_frame_lasts_as_long_as_the_others_when_nothing_is_said():
    found = timeline(packets(0, 40, 80, duration=0))
    assert found.end_sec == pytest.approx(0.12)


def test_no_packets_are_an_error():
    with pytest.raises(VideoError, match="no packets"):
        timeline([])


@pytest.mark.parametrize(
    ("stream", "end"),
    [
        ({"duration": "31.000000", "start_time": "0.000000"}, 31.0),
        ({"duration": "2.0", "start_time": "1.5"}, 2.5),  # begins 0.5 s after the origin at 1.0
        ({"tags": {"DURATION": "00:00:10.333000000"}}, 9.333),
        ({"tags": {"DURATION-eng": "x"}, "duration": "N/A"}, None),
        ({}, None),
    ],
)
def test_the_declared_end(stream, end):
    origin = 0.0 if end == 31.0 else 1.0
    found = stream_end(stream, origin_sec=origin)
    assert found is None if end is None else found == pytest.approx(end)
