"""Pictures and clips of answers."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmr.errors import VideoError
from vmr.locate.answers import Answer, clock
from vmr.storage.files import atomic_path
from vmr.video.containers import SAFE_INPUT
from vmr.video.ffprobe import choose_stream, probe, rate, require_program, seconds, timeline_origin
from vmr.video.timeline import WITHOUT_INDEX

# Okabe and Ito's colours, told apart by people with any kind of colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#8a8a8a"
_LOOKS: dict[str, dict[str, Any]] = {
    "inside": {"fill": True, "color": _BLUE, "alpha": 0.3},
    "end": {"color": _ORANGE, "linewidth": 1.6, "linestyle": (0, (4, 2))},
}
_CLIP_TIMEOUT_SEC = 600.0
_PROBE_TIMEOUT_SEC = 60.0
_MOST_FPS = 120  # of a clip; some files claim a thousand
_LOOK_BACK_SEC = (10.0, 100.0)  # for a key frame; behind that, decoding starts at the beginning
_BEFORE_KEY_SEC = 1.0  # a seek goes by the times of decoding, which are earlier
_PICTURES, _CLIPS = (".png", ".svg", ".pdf"), (".mp4", ".mkv", ".mov")


def check_outputs(
    *, plot: Path | None = None, clip: Path | None = None, clips: Path | None = None, videos: Sequence[Path] = ()
) -> None:
    """Refuse names of outputs before a video is read, which may take long.

    Raises:
        VideoError: the suffix of a picture or clip is unknown, a file was named as a folder or a folder as a file, or
            one of the videos would be written over.
    """
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise VideoError(f"{plot}: expected the name of a picture, which ends in {', '.join(_PICTURES)}.")
    if clip is not None and clip.suffix.lower() not in _CLIPS:
        raise VideoError(f"{clip}: expected the name of a clip, which ends in {', '.join(_CLIPS)}.")
    for path in (plot, clip):
        if path is not None and path.is_dir():
            raise VideoError(f"{path}: expected a file to write, found a folder of this name. Name another file.")
    if clips is not None and clips.exists() and not clips.is_dir():
        raise VideoError(f"{clips}: expected a folder for the clips, found a file. Name another one.")
    if clip is not None and clip.exists() and any(video.exists() and clip.samefile(video) for video in videos):
        raise VideoError(f"{clip}: expected another file than the video itself, which the clip would replace.")


def plot_answers(answers: Sequence[Answer], path: Path) -> None:
    """Draw the curves of answers and their moments, one row each, into a picture (PNG, SVG or PDF by its suffix).

    Raises:
        VideoError: the suffix of the picture is unknown.
    """
    from matplotlib.figure import Figure

    check_outputs(plot=path)
    figure = Figure(figsize=(9, 1.2 + 2.0 * len(answers)), layout="constrained")
    rows = figure.subplots(len(answers), 1, squeeze=False)[:, 0]
    for axes, answer in zip(rows, answers, strict=True):
        curve = answer.curve
        edges = [*curve.start_sec, curve.end_sec[-1]]
        for name, values in curve.shares.items():
            axes.stairs(values, edges, label=name, **_LOOKS.get(name, {"color": _GREEN, "linewidth": 1.6}))
        for rank, moment in enumerate(answer.moments, start=1):
            height = 1.04 + 0.09 * rank
            axes.plot([moment.start_sec, moment.end_sec], [height] * 2, color="black" if rank == 1 else _GREY, lw=4)
            axes.annotate(f"{rank}", (moment.end_sec, height), (4, -3), textcoords="offset points", fontsize=8)
        axes.set(xlim=(0, answer.duration_sec), ylim=(0, 1.1 + 0.09 * (len(answer.moments) + 1)), yticks=[0, 0.5, 1])
        axes.set_title(f"{Path(answer.video).name}: {answer.query}", loc="left", fontsize=10, parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(lambda seconds, _: clock(seconds).removesuffix(".0"))
    rows[0].legend(loc="upper right", fontsize=8, ncols=3, frameon=False, bbox_to_anchor=(1, 1.25))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130)


def cut_clip(video: Path, start_sec: float, end_sec: float, path: Path) -> None:
    """Cut a moment out of a video, from the stream that features are made of; encoded again, to cut at exact frames.
    The suffix chooses the container (.mp4, .mkv, .mov).

    The clip begins with the frame that is shown at `start_sec`, however long before it came. Its seconds are those of
    the answers.

    Raises:
        VideoError: ffmpeg is missing or fails, or no picture of the moment can be decoded.
    """
    check_outputs(clip=path, videos=[video])
    require_program("ffprobe")
    try:
        described = probe(video, timeout_sec=_PROBE_TIMEOUT_SEC)
        stream = choose_stream(described.get("streams", []))
        if stream is None:
            raise VideoError(f"has no video stream to cut {path} from.")
        seek_sec, ahead_sec = _where_to_seek(video, described.get("format", {}), stream, start_sec)
    except VideoError as error:
        raise VideoError(f"{video}: {error}") from error
    shift = f"PTS-{ahead_sec:.6f}/TB"
    # Some versions of ffmpeg's `setpts` forget the rate, which the filter `fps` could name else.
    rates = (stream.get(name) for name in ("r_frame_rate", "avg_frame_rate"))
    fps = next((text for text in rates if rate(text) <= _MOST_FPS), _MOST_FPS)
    pictures = f"setpts={shift},fps=fps={fps}:start_time=0,pad=ceil(iw/2)*2:ceil(ih/2)*2"
    with atomic_path(path) as temporary:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
        command += [part for name, value in SAFE_INPUT.items() for part in (f"-{name}", value)]
        # Not accurate: else the frame that is shown at the start is thrown away where it came before.
        command += ["-ss", f"{seek_sec:.6f}", "-noaccurate_seek"] if seek_sec else []
        command += ["-i", f"file:{video.absolute()}", "-t", f"{end_sec - start_sec:.3f}"]
        command += ["-map", f"0:{stream['index']}", "-map", "0:a:0?"]
        command += ["-filter:v", pictures, "-filter:a", f"asetpts={shift},atrim=start=0"]
        command += ["-c:v", "libx264", "-crf", "20", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        command += ["-movflags", "+faststart", f"file:{temporary.absolute()}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_CLIP_TIMEOUT_SEC, check=False)
        except FileNotFoundError as error:
            raise VideoError("ffmpeg was not found on the PATH. Install it (`apt-get install ffmpeg`).") from error
        except subprocess.TimeoutExpired as error:
            raise VideoError(f"{video}: cutting {path} took longer than {_CLIP_TIMEOUT_SEC:.0f} s.") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise VideoError(f"{video}: ffmpeg cannot cut {path} ({said[-1][:200] if said else 'no reason given'}).")
        # ffmpeg calls it a success when it found no frame.
        if choose_stream(probe(temporary, timeout_sec=_PROBE_TIMEOUT_SEC).get("streams", [])) is None:
            raise VideoError(
                f"{video}: no picture between {start_sec:.1f} and {end_sec:.1f} s can be decoded for {path}. The file "
                "may end before, or be damaged there."
            )


def _where_to_seek(
    video: Path, container: dict[str, Any], stream: dict[str, Any], start_sec: float
) -> tuple[float, float]:
    """Where ffmpeg is to seek, 0 for not at all, and how many seconds behind that the moment begins.

    ffmpeg counts both from the first time stamp of the file, which sound may have before the timeline begins.
    """
    begin = seconds(container.get("start_time"))
    if begin is None:  # bare streams, in which ffmpeg cannot seek
        return 0.0, start_sec
    start_sec += timeline_origin(container, stream) - begin
    if container.get("format_name") not in WITHOUT_INDEX:
        return start_sec, 0.0
    # There ffmpeg lands between key frames, and shows nothing before the next one.
    for back_sec in _LOOK_BACK_SEC:
        interval = f"{max(begin, begin + start_sec - back_sec):.3f}%{begin + start_sec:.3f}"
        packets = probe(
            video,
            timeout_sec=_PROBE_TIMEOUT_SEC,
            select_streams=str(stream["index"]),
            show_entries="packet=pts_time,flags",
            read_intervals=interval,
        ).get("packets", [])
        stamps = (seconds(packet.get("pts_time")) for packet in packets if "K" in packet.get("flags", ""))
        keys = [stamp - begin for stamp in stamps if stamp is not None and stamp - begin <= start_sec]
        if keys:
            seek_sec = max(0.0, max(keys) - _BEFORE_KEY_SEC)
            return seek_sec, start_sec - seek_sec
    return 0.0, start_sec
