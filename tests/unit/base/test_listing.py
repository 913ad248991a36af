from vmr.shard import shard_of
from vmr.video.listing import folder_fingerprints


def test_an_added_video_changes_its_own_shard_only(tmp_path):
    for number in range(20):
        (tmp_path / f"video{number}.mp4").write_bytes(b"x")
    before = folder_fingerprints(tmp_path, shards=4)
    (tmp_path / "new.mkv").write_bytes(b"y")
    after = folder_fingerprints(tmp_path, shards=4)
    assert [index for index in range(4) if before[index] != after[index]] == [shard_of("new", 4)]


def test_a_replaced_video_changes_its_shard(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    before = folder_fingerprints(tmp_path, shards=1)
    (tmp_path / "a.mp4").write_bytes(b"longer")
    assert folder_fingerprints(tmp_path, shards=1) != before


def test_a_missing_folder_counts_as_empty(tmp_path):
    assert folder_fingerprints(tmp_path / "none", shards=2) == folder_fingerprints(tmp_path, shards=2)
