"""The page takes the kinds of files that the workflow takes."""

from vmr.serve.library import MEDIA_TYPES
from vmr.video.containers import VIDEO


def test_every_kind_of_video_is_taken():
    video = {end for ends in VIDEO.values() for end in ends} - {".m4a", ".ogg"}
    assert set(MEDIA_TYPES) == video
    assert MEDIA_TYPES[".gif"] == "image/gif" and MEDIA_TYPES[".lrv"] == "application/octet-stream"
