"""The kinds of files that are read: those that hold their pictures and sound themselves.

FFmpeg also opens playlists, descriptions of streams and patterns of names, whatever the file is called, and follows
them to other files of the machine. So each call of it is given this list of its names of formats (demuxers).
"""

_VIDEO = (
    "mov", "matroska", "avi", "flv", "asf", "mpeg", "mpegts", "ogg", "mxf", "gxf", "nut", "nsv", "rm", "dv", "wtv",
    "ivf", "swf", "yuv4mpegpipe", "gif",
    # Bare streams.
    "mpegvideo", "m4v", "h261", "h263", "h264", "hevc", "vvc", "obu", "av1", "vc1", "mjpeg", "dirac", "dnxhd",
)  # fmt: skip
# Opened so that the reason can be that there are no pictures.
_SOUND = ("wav", "w64", "mp3", "aac", "ac3", "eac3", "flac", "aiff", "au", "caf", "amr")

#: Options for every input of ffprobe and ffmpeg; the path goes behind `file:`.
SAFE_INPUT = {"protocol_whitelist": "file", "format_whitelist": ",".join(_VIDEO + _SOUND)}
