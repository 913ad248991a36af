"""Names that the configuration, the command line and the stages share."""

import re
from collections.abc import Mapping
from typing import Any, Literal

AnnotationFormat = Literal["auto", "charades_sta", "activitynet_captions", "json", "csv", "eaf"]
TruthFormat = Literal[AnnotationFormat, "moments"]
ImportLayout = Literal["hdf5", "npy_folder"]
Alignment = Literal["swap", "attention", "cross", "pad"]
Mode = Literal["windows", "continuous"]
Padding = Literal["edge", "valid"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
Selection = Literal["validation", "test"]
FrameChoice = Literal["nearest", "shown"]

# Below this width of a network float32 is as fast on a CPU as bfloat16, since a step consists of many small operations.
WIDE = 256

# How kinds of features that are no features of videos begin; tables are labelled by it.
SIMULATED = "simulated"

SPLIT_NAME = re.compile(r"[A-Za-z0-9_+-]+")

# Formats whose files say how long each video is.
FORMATS_WITH_DURATIONS: tuple[AnnotationFormat, ...] = ("activitynet_captions",)

# Of files that are taken for videos, in this order where two have one name: `vmr.video.containers` says of what kind
# they are. Sound comes last; it is found so that the reason can be that there are no pictures.
VIDEO_EXTENSIONS = (
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".3gp",
    ".ogv", ".vob", ".asf", ".y4m", ".3g2", ".f4v", ".divx", ".mxf", ".gxf", ".nut", ".nsv", ".rm", ".rmvb", ".dv",
    ".wtv", ".ivf", ".swf", ".qt", ".lrv", ".lrf", ".insv", ".mqv", ".ismv", ".3gpp", ".mk3d", ".ogm", ".mpe", ".mod",
    ".m2p", ".vro", ".m2t", ".tod", ".trp", ".tp", ".m1v", ".m2v", ".h261", ".h263", ".h264", ".hevc", ".h265", ".vvc",
    ".obu", ".vc1", ".mjpeg", ".mjpg", ".dnxhd", ".gif",
    ".wav", ".mp3", ".m4a", ".ogg", ".flac", ".w64", ".aac", ".ac3", ".eac3", ".aiff", ".aif", ".au", ".caf", ".amr",
)  # fmt: skip


def frame_choice_of(provenance: Mapping[str, Any]) -> FrameChoice:
    """How the frames of a frame store, or under some features, were chosen; files from before do not name it.

    >>> frame_choice_of({"frame_choice": "nearest"}), frame_choice_of({"frame_choice": "the last frame presented at"})
    ('nearest', 'shown')
    """
    return "nearest" if provenance.get("frame_choice") == "nearest" else "shown"
