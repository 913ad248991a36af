import gc
import io
import time

import h5py
import numpy as np
import psutil
import pytest

from vmr.errors import DamageError, ShardError
from vmr.storage.shard import PartialShard
from vmr.video.frames import FrameInfo, FrameStore, write_video
from vmr.video.stream import GOP_FRAMES, StreamScan, decoded_frames

FRAMES = 2 * GOP_FRAMES + 4


@pytest.fixture
def stream(render_clip):
    options = ["-c:v", "libx264", "-crf", 12, "-g", GOP_FRAMES, "-keyint_min", GOP_FRAMES, "-sc_threshold", 0]
    return render_clip("clip.h264", *options, "-x264-params", "aud=1", frames=FRAMES).read_bytes()


@pytest.fixture
def store_file(stream, tmp_path):
    shard = PartialShard(tmp_path / "frames.h5", settings={})
    info = FrameInfo(num_frames=FRAMES, width=128, height=64, fps=24.0, duration_sec=FRAMES / 24, start_sec=1.4)
    for video_id in ("b", "a"):
        shard.add(video_id, fingerprint="", row={}, write=lambda part: write_video(part, io.BytesIO(stream), info))
    shard.finish(["b", "a"], attributes={"provenance": {"fps": 24.0}})
    shard.clear()
    return shard.path


def ffmpeg_children():
    """Processes of ours that run ffmpeg, as Linux lists them."""
    return [child.name() for child in psutil.Process().children()].count("ffmpeg")


def test_frames_come_back_in_order(store_file, read_numbers):
    with FrameStore(store_file) as store:
        assert store.video_ids == ["a", "b"] and "a" in store and "c" not in store
        assert store.provenance == {"fps": 24.0}
        assert store.info("a") == FrameInfo(FRAMES, 128, 64, 24.0, FRAMES / 24, 1.4)
        chunks = list(store.read("a", chunk=30))
    assert [len(chunk) for chunk in chunks] == [30, 30, 30, 10]
    assert chunks[0].dtype == np.uint8 and chunks[0].shape == (30, 64, 128, 3)
    assert read_numbers(np.concatenate(chunks)) == list(range(FRAMES))


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (47, 49), (48, 50), (50, 60), (95, 100), (99, None), (60, 60), (60, 50), (100, 120)]
)
def test_a_range_of_frames(store_file, read_numbers, start, stop):
    with FrameStore(store_file) as store:
        chunks = list(store.read("a", start=start, stop=stop, chunk=7))
    wanted = list(range(FRAMES))[start:stop]
    assert [number for chunk in chunks for number in read_numbers(chunk)] == wanted


def test_a_dropped_iterator_leaves_no_process_behind(store_file):
    with FrameStore(store_file) as store:
        frames = store.read("a", chunk=1)
        next(frames)
        assert ffmpeg_children() == 1
        frames.close()
        assert ffmpeg_children() == 0
        frames = store.read("a", chunk=1)
        next(frames)
        del frames
        gc.collect()
        assert ffmpeg_children() == 0


def test_two_videos_are_read_side_by_side(store_file):
    with FrameStore(store_file) as store, FrameStore(store_file) as other:
        for one, two in zip(store.read("a", chunk=9), other.read("b", chunk=9), strict=True):
            np.testing.assert_array_equal(one, two)


def test_errors_name_the_store_and_the_video(store_file, tmp_path):
    with FrameStore(store_file) as store:
        with pytest.raises(ShardError, match=r"frames\.h5: the video c"):
            store.info("c")
        with pytest.raises(ValueError, match="cannot be read"):
            store.read("a", start=-1)
        with pytest.raises(ValueError, match="cannot be read"):
            store.read("a", chunk=0)
    with pytest.raises(ShardError, match="decode_frames"):
        FrameStore(tmp_path / "nowhere.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ShardError, match="not a frame store"):
        FrameStore(tmp_path / "text.h5")


@pytest.mark.parametrize("cut", [1, 5, 7, 1 << 20])
def test_frames_and_groups_are_counted_however_the_bytes_are_cut(stream, cut):
    scan = StreamScan()
    for begin in range(0, len(stream), cut):
        scan.feed(stream[begin : begin + cut])
    assert (scan.num_frames, scan.size) == (FRAMES, len(stream))
    key_frames = [offset for offset in range(len(stream)) if stream.startswith(b"\0\0\0\1\x09\x10\0\0\0\1\x67", offset)]
    assert scan.group_offsets().tolist() == key_frames and len(key_frames) == 3


def test_irregular_groups_are_read_from_the_beginning(render_clip):
    scan = StreamScan()
    scan.feed(render_clip("clip.h264", "-c:v", "libx264", "-g", 7, "-x264-params", "aud=1").read_bytes())
    assert scan.num_frames == 48 and scan.group_offsets().tolist() == [0]


def test_a_stream_with_another_number_of_frames_is_refused(stream, tmp_path):
    info = FrameInfo(num_frames=FRAMES + 1, width=128, height=64, fps=24.0, duration_sec=1.0, start_sec=0.0)
    with (
        h5py.File(tmp_path / "part.h5", "w") as part,
        pytest.raises(ShardError, match=f"kept {FRAMES} frames of {FRAMES + 1}"),
    ):
        write_video(part, io.BytesIO(stream), info)


def test_altered_frames_are_refused_before_any_is_decoded(store_file):
    with h5py.File(store_file, "r+") as file:
        file["videos/b/stream"][-1] ^= 1
    with FrameStore(store_file) as store:
        with pytest.raises(DamageError, match=r"frames\.h5: the frames of b are not what was written.*vmr verify"):
            store.read("b")
        assert len(np.concatenate(list(store.read("a")))) == FRAMES


def test_files_of_another_kind_and_damaged_lists_are_told_apart(store_file, tmp_path):
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file.attrs["provenance"] = '{"extractor": "i3d", "fps": 24.0}'
    with h5py.File(tmp_path / "queries.h5", "w") as file:
        file.attrs["provenance"], file["words"] = "{}", [1]
    for name in ("features.h5", "queries.h5"):
        with pytest.raises(ShardError, match=f"{name}: an HDF5 file, but not a frame store"):
            FrameStore(tmp_path / name)
    with h5py.File(store_file, "r+") as file:
        file.attrs["provenance"] = '{"fps": 25.0}'
    with FrameStore(store_file) as store, pytest.raises(DamageError, match=r"frames\.h5: what it holds is not what"):
        store.check_contents()
    with h5py.File(store_file, "r+") as file:
        file.attrs["provenance"] = '{"fps": 25'
    with pytest.raises(DamageError, match=r"frames\.h5: its list of videos cannot be read"):
        FrameStore(store_file)


def test_facts_and_frames_that_cannot_be_read_are_damage(store_file, monkeypatch):
    with h5py.File(store_file, "r+") as file:
        del file["videos/b"].attrs["fps"]
    with FrameStore(store_file) as store:
        store.check_contents()
        with pytest.raises(DamageError, match=r"frames\.h5: what it says of b cannot be read"):
            store.info("b")
        frames = store.read("a")

        def broken(self, key):
            raise OSError("the disk is broken")

        monkeypatch.setattr(h5py.Dataset, "__getitem__", broken)
        with pytest.raises(DamageError, match=r"the frames of a cannot be read \(the disk is broken\)"):
            list(frames)


def test_a_damaged_store_is_noticed(store_file):
    with h5py.File(store_file, "r+") as file:
        data = file["videos/a/stream"][:]
        del file["videos/a/stream"]
        file["videos/a"].create_dataset("stream", data=data[: len(data) // 2])
        del file["videos/a"].attrs["sha256"]  # as in stores without checksums
    with FrameStore(store_file) as store, pytest.raises(ShardError, match="a gave"):
        list(store.read("a"))


def test_bytes_that_cannot_be_read_are_an_error(stream):
    def broken(begin, end):
        raise OSError("the network is down")

    with pytest.raises(ShardError, match="network is down"):
        list(decoded_frames(broken, size=len(stream), width=128, height=64))


def test_memory_stays_bounded_when_nobody_reads(store_file):
    with FrameStore(store_file) as store:
        frames = store.read("a", chunk=1)
        next(frames)
        time.sleep(0.2)
        assert sum(len(chunk) for chunk in frames) == FRAMES - 1
