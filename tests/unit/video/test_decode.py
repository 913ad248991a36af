import shutil
import threading
import time

import clips
import pandas as pd
import pytest
from sectioned import sectioned

from vmr.config.sections import VideoSettings
from vmr.errors import ShardError, VideoError
from vmr.video import decode, stream
from vmr.video.decode import decode_frames
from vmr.video.frames import FrameStore
from vmr.video.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from vmr.video.probe import probe_video


@pytest.fixture
def shard(tmp_path, render_clip):
    """Manifest of a shard: three good clips, one bad, one missing."""
    clip = render_clip("a.mp4", fps="12", frames=6)
    rows = [{"video_id": "gone", "status": "missing", "reason": "no file"}]
    for name in ("a", "b", "c"):
        path = clip.with_name(f"{name}.mp4")
        if name != "a":
            shutil.copy(clip, path)
        rows.append({"video_id": name, **probe_video(path, timeout_sec=20)})
    rows.append({"video_id": "bad", "path": "bad.mp4", "status": "bad", "reason": "no video stream"})
    write_manifest(rows, tmp_path / "manifest.csv", columns=MANIFEST_COLUMNS)
    return tmp_path


def run(folder, **options):
    defaults = {"short_side": 64, "decode_timeout_sec": 20, "workers": 2, "max_failed_share": 0.5, "code_digest": "1"}
    decode_frames(
        manifest=folder / "manifest.csv",
        output=folder / "frames.h5",
        decoded_manifest=folder / "decoded.csv",
        **sectioned(VideoSettings, defaults | options),
    )
    return read_manifest([folder / "decoded.csv"]).set_index("video_id")


def test_good_bad_and_missing_videos_all_have_a_row(shard, read_numbers):
    table = run(shard)
    assert table["status"].to_dict() == {"a": "ok", "b": "ok", "bad": "bad", "c": "ok", "gone": "missing"}
    assert table["decoder"].to_dict() == {"a": "decord", "b": "decord", "bad": "", "c": "decord", "gone": ""}
    assert table["decoded_frames"].to_dict() == {"a": 12, "b": 12, "bad": 0, "c": 12, "gone": 0}
    assert table["reason"]["bad"] == "no video stream"
    with FrameStore(shard / "frames.h5") as store:
        assert store.video_ids == ["a", "b", "c"]
        assert store.provenance["fps"] == 24.0 and store.provenance["code_digest"] == "1"
        assert store.provenance["versions"]["decord"] == "0.6.0"
        (frames,) = store.read("b")
    assert read_numbers(frames) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert not list(shard.glob("*.parts"))


def test_a_file_that_turns_bad_does_not_stop_the_shard(shard):
    (shard / "b.mp4").write_bytes(b"nonsense")
    (shard / "c.mp4").unlink()
    table = run(shard, max_failed_share=1.0)
    assert table["status"].to_dict() == {"a": "ok", "b": "bad", "bad": "bad", "c": "bad", "gone": "missing"}
    assert "ffprobe cannot read it" in table["reason"]["b"] and table["reason"]["c"]


def test_too_many_failures_are_an_error_and_nothing_is_lost(shard, monkeypatch):
    with pytest.raises(ShardError, match=r"1 of 4 videos cannot be used.*20%(.|\n)*bad\.mp4: no video stream"):
        run(shard, max_failed_share=0.2)
    assert not (shard / "frames.h5").exists()
    # Exactly a quarter may fail; the finished videos are not decoded again.
    monkeypatch.setattr(decode, "decode_video", None)
    assert (run(shard, max_failed_share=0.25)["status"] == "ok").sum() == 3


def test_a_killed_run_goes_on_where_it_was(shard, monkeypatch):
    decoded = []

    def count(decord, picture, **options):
        if len(decoded) == 2 and not resumed:
            raise KeyboardInterrupt
        decoded.append(picture.path.name)
        return original(decord, picture, **options)

    original, resumed = decode.decode_video, False
    monkeypatch.setattr(decode, "decode_video", count)
    with pytest.raises(KeyboardInterrupt):
        run(shard, workers=1)
    resumed = True
    assert run(shard, workers=1)["decoded_frames"].sum() == 36
    assert sorted(decoded) == ["a.mp4", "b.mp4", "c.mp4"]


def test_an_interrupt_ends_the_videos_at_work(shard, monkeypatch):
    begun, whole = threading.Event(), []

    def long_film(decord, picture, *, progress, **options):
        for frame in range(300):
            progress(frame, 300)
            begun.set()
            time.sleep(0.01)
        whole.append(picture.path.name)

    def interrupted(*futures, **options):
        begun.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(decode, "decode_video", long_film)
    monkeypatch.setattr(decode, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(shard)
    assert whole == []


def test_what_snakemake_deleted_comes_back_and_only_a_new_video_is_decoded(shard, monkeypatch):
    run(shard)
    files = [shard / name for name in ("frames.h5", "decoded.csv")]
    written = [path.read_bytes() for path in files]
    decoded, decode_video = [], decode.decode_video
    monkeypatch.setattr(
        decode,
        "decode_video",
        lambda helpers, picture, **o: decoded.append(picture) or decode_video(helpers, picture, **o),
    )
    for path in files:
        path.unlink()
    run(shard)
    assert [path.read_bytes() for path in files] == written and not decoded
    new = probe_video(shutil.copy(shard / "a.mp4", shard / "new.mp4"), timeout_sec=20)
    rows = read_manifest([shard / "manifest.csv"]).astype(object).to_dict("records")
    rows = [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]
    write_manifest([*rows, {"video_id": "new", **new}], shard / "manifest.csv", columns=MANIFEST_COLUMNS)
    for path in files:
        path.unlink()
    assert run(shard)["status"].to_dict() == {
        **{name: "ok" for name in ("a", "b", "c", "new")},
        "bad": "bad",
        "gone": "missing",
    }
    assert [picture.path.name for picture in decoded] == ["new.mp4"]
    with FrameStore(files[0]) as store:
        assert store.video_ids == ["a", "b", "c", "new"]


def test_failures_and_changed_files_are_tried_again(shard, monkeypatch):
    def fail(decord, picture, **options):
        raise VideoError("took longer")

    with monkeypatch.context() as patch, pytest.raises(ShardError, match="took longer"):
        patch.setattr(decode, "decode_video", fail)
        run(shard)
    assert (run(shard)["status"] == "ok").sum() == 3


@pytest.mark.parametrize("error", [KeyError, MemoryError])
def test_surprises_in_one_video_are_its_own_failure(shard, monkeypatch, error):
    def surprise(decord, picture, **options):
        raise error("a field nobody expected")

    monkeypatch.setattr(decode, "decode_video", surprise)
    table = run(shard, max_failed_share=1.0)
    assert f"unexpected {error.__name__}" in table["reason"]["a"]


@pytest.mark.parametrize("options", [[], ["-use_editlist", 0]])
def test_a_clock_that_runs_for_years_is_the_failure_of_its_video(shard, render_clip, options):
    # Damaged after it was probed: by then nothing but the packets is asked.
    clips.endless(render_clip("b.mp4", "-c:v", "libx264", "-bf", 0, *options, frames=4))
    table = run(shard, max_failed_share=1.0)
    assert table["status"].to_dict() == {"a": "ok", "b": "bad", "bad": "bad", "c": "ok", "gone": "missing"}
    assert "hours; at most 48 are read" in table["reason"]["b"]


def test_a_video_longer_than_it_declares_has_its_real_length_in_the_manifest(shard, render_clip):
    path = render_clip("b.mp4", "-c:v", "libx264", "-bf", 0, "-use_editlist", 0, frames=240)
    clips.patch_box(path, b"mdhd", 16, 4 * 12288)  # ticks
    rows = [{"video_id": "b", **probe_video(path, timeout_sec=20)}]
    rows.append({"video_id": "a", **probe_video(shard / "a.mp4", timeout_sec=20)})
    assert rows[0]["duration_sec"] == 4.0
    write_manifest(rows, shard / "manifest.csv", columns=MANIFEST_COLUMNS)
    table = run(shard)
    assert table["duration_sec"].to_dict() == {"a": 0.5, "b": 10.0}
    assert table["note"].to_dict() == {"a": "", "b": "the picture lasts 10.00 s, though the file declares 4.00 s"}
    (shard / "frames.h5").unlink()
    assert run(shard)["duration_sec"]["b"] == 10.0, "what was kept says it too"


def test_a_manifest_that_claims_years_is_the_failure_of_its_video(shard):
    lines = (shard / "manifest.csv").read_text().replace("b.mp4,ok,,0.5,", "b.mp4,ok,,1e300,")
    assert "1e300" in lines
    (shard / "manifest.csv").write_text(lines)
    assert "at most 48 are read" in run(shard)["reason"]["b"]


def test_a_time_limit_beyond_what_the_system_can_wait_is_none(shard):
    assert (run(shard, decode_timeout_sec=1e12)["status"] == "ok").sum() == 3


def test_missing_videos_alone_make_a_valid_empty_store(tmp_path):
    rows = [{"video_id": name, "status": "missing", "reason": "no file"} for name in "ab"]
    write_manifest(rows, tmp_path / "manifest.csv", columns=MANIFEST_COLUMNS)
    table = run(tmp_path, max_failed_share=0.0)
    assert table["status"].tolist() == ["missing", "missing"]
    with FrameStore(tmp_path / "frames.h5") as store:
        assert store.video_ids == [] and "a" not in store


def test_a_full_disk_is_an_error_of_the_shard(shard, monkeypatch):
    def full(decord, picture, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decode, "decode_video", full)
    with pytest.raises(ShardError, match=r"frames\.h5: cannot be written.*No space left.*Free some space"):
        run(shard)


def test_a_few_frames_that_claim_hours_do_not_get_hours(tmp_path, render_clip):
    path = render_clip("slow.mp4", "-c:v", "libx264", "-bf", 0, frames=6)
    boxes = ((b"mdhd", 12, 1), (b"mdhd", 16, 36000), (b"stts", 12, 6000), (b"elst", 8, 36_000_000))
    for box, offset, value in boxes:  # a tick a second, 6000 of them for each frame
        clips.patch_box(path, box, offset, value)
    row = probe_video(path, timeout_sec=20)
    assert row["status"] == "ok" and row["duration_sec"] > 30_000
    write_manifest([{"video_id": "slow", **row}], tmp_path / "manifest.csv", columns=MANIFEST_COLUMNS)
    begin = time.monotonic()
    table = run(tmp_path, decode_timeout_sec=1, max_failed_share=1.0)
    assert time.monotonic() - begin < 20
    assert "decoding took longer than 1 s; its 6 frames claim 36000 s" in table["reason"]["slow"]


def test_an_ffmpeg_without_its_encoder_is_a_clear_error(shard, monkeypatch):
    monkeypatch.setitem(stream.ENCODER, "vcodec", "libnothing")
    with pytest.raises(ShardError, match="cannot encode"):
        run(shard)


@pytest.mark.slow
def test_all_shared_videos_end_as_frames_or_with_a_reason(shared_data, tmp_path):
    names = sorted((shared_data / "videos").iterdir())
    rows = [{"video_id": path.stem, **probe_video(path, timeout_sec=20)} for path in names]
    write_manifest(rows, tmp_path / "manifest.csv", columns=MANIFEST_COLUMNS)
    table = run(tmp_path, short_side=256)
    # ceil(duration * 24) for the durations in the README.
    frames = {"3MSZA": 744, "v_ZNVhz7ctTq0": 336, "nasa_13013": 312, "corrupted": 120, "flipping_a_pancake": 248}
    frames |= {"av1_video": 120, "h265_10bits": 24, "unordered": 3, "video_90": 3, "sine_mono_s16": 0}
    assert table["decoded_frames"].to_dict() == frames
    assert "49 of 50 frames" in table["note"]["corrupted"]
    assert "no video stream" in table["reason"]["sine_mono_s16"]
    assert table["decoder"]["av1_video"] == table["decoder"]["corrupted"] == "ffmpeg"
    assert table["decoder"]["3MSZA"] == table["decoder"]["flipping_a_pancake"] == "decord"
    assert (tmp_path / "frames.h5").stat().st_size < 4 * sum(path.stat().st_size for path in names)
