"""The kinds of files that are read: those that hold their pictures and sound themselves.

FFmpeg also opens playlists, descriptions of streams and patterns of names, whatever the file is called, and follows
them to other files of the machine. So each call of it is given this list of its names of formats (demuxers).
"""

# With the ends of names by which files of each kind are found: all of `vmr.names.VIDEO_EXTENSIONS`, which has them in
# the order of preference; none of digits only (.264), which may end the id of a video as well. Bare streams come after
# the containers; those of Dirac are not read, since FFmpeg counts their frames in ticks of a microsecond or so.
VIDEO = {
    "mov": (
        ".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".f4v", ".m4a", ".qt", ".lrv", ".lrf", ".insv", ".mqv", ".ismv",
        ".3gpp",
    ),
    "matroska": (".mkv", ".webm", ".mk3d"), "avi": (".avi", ".divx"), "flv": (".flv",), "asf": (".wmv", ".asf"),
    "mpeg": (".mpg", ".mpeg", ".vob", ".mpe", ".mod", ".m2p", ".vro"),
    "mpegts": (".ts", ".m2ts", ".mts", ".m2t", ".tod", ".trp", ".tp"), "ogg": (".ogv", ".ogg", ".ogm"),
    "mxf": (".mxf",), "gxf": (".gxf",), "nut": (".nut",), "nsv": (".nsv",), "rm": (".rm", ".rmvb"), "dv": (".dv",),
    "wtv": (".wtv",), "ivf": (".ivf",), "swf": (".swf",),
    "yuv4mpegpipe": (".y4m",), "gif": (".gif",),
    "mpegvideo": (".m1v", ".m2v"), "m4v": (".m4v",), "h261": (".h261",), "h263": (".h263",), "h264": (".h264",),
    "hevc": (".hevc", ".h265"), "vvc": (".vvc",), "obu": (".obu",), "av1": (".obu",), "vc1": (".vc1",),
    "mjpeg": (".mjpeg", ".mjpg"), "dnxhd": (".dnxhd",),
}  # fmt: skip
# Opened so that the reason can be that there are no pictures.
SOUND = {
    "wav": (".wav",), "w64": (".w64",), "mp3": (".mp3",), "aac": (".aac",), "ac3": (".ac3",), "eac3": (".eac3",),
    "flac": (".flac",), "aiff": (".aiff", ".aif"), "au": (".au",), "caf": (".caf",), "amr": (".amr",),
}  # fmt: skip

#: Options for every input of ffprobe and ffmpeg; the path goes behind `file:`.
SAFE_INPUT = {"protocol_whitelist": "file", "format_whitelist": ",".join([*VIDEO, *SOUND])}
