"""Pictures and clips of answers."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from vmr.errors import VideoError
from vmr.locate.answers import Answer, clock
from vmr.storage.files import atomic_path
from vmr.video.containers import SAFE_INPUT
from vmr.video.ffprobe import choose_stream, probe, require_program

# Okabe and Ito's colours, told apart by people with any kind of colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#8a8a8a"
_CLIP_TIMEOUT_SEC = 600.0
_PROBE_TIMEOUT_SEC = 60.0
_PICTURES, _CLIPS = (".png", ".svg", ".pdf"), (".mp4", ".mkv", ".mov")


def check_outputs(*, plot: Path | None, clip: Path | None) -> None:
    """Refuse names of outputs before a video is read, which may take long.

    Raises:
        VideoError: the suffix of a picture or clip is unknown.
    """
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise VideoError(f"{plot}: expected the name of a picture, which ends in {', '.join(_PICTURES)}.")
    if clip is not None and clip.suffix.lower() not in _CLIPS:
        raise VideoError(f"{clip}: expected the name of a clip, which ends in {', '.join(_CLIPS)}.")


def plot_answers(answers: Sequence[Answer], path: Path) -> None:
    """Draw the curves of answers and their moments, one row each, into a picture (PNG, SVG or PDF by its suffix).

    Raises:
        VideoError: the suffix of the picture is unknown.
    """
    from matplotlib.figure import Figure

    check_outputs(plot=path, clip=None)
    figure = Figure(figsize=(9, 1.2 + 2.0 * len(answers)), layout="constrained")
    rows = figure.subplots(len(answers), 1, squeeze=False)[:, 0]
    for axes, answer in zip(rows, answers, strict=True):
        curve = answer.curve
        edges = [*curve.start_sec, curve.end_sec[-1]]
        for name, values in curve.shares.items():
            if name == "inside":
                axes.stairs(values, edges, fill=True, color=_BLUE, alpha=0.3, label=name)
            elif name == "end":
                axes.stairs(values, edges, color=_ORANGE, linewidth=1.6, linestyle=(0, (4, 2)), label=name)
            else:
                axes.stairs(values, edges, color=_GREEN, linewidth=1.6, label=name)
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

    Raises:
        VideoError: ffmpeg is missing or fails.
    """
    check_outputs(plot=None, clip=path)
    if path.exists() and path.samefile(video):
        raise VideoError(f"{path}: expected another file than the video itself, which the clip would replace.")
    require_program("ffprobe")
    try:
        stream = choose_stream(probe(video, timeout_sec=_PROBE_TIMEOUT_SEC).get("streams", []))
    except VideoError as error:
        raise VideoError(f"{video}: {error}") from error
    if stream is None:
        raise VideoError(f"{video}: has no video stream to cut {path} from.")
    with atomic_path(path) as temporary:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
        command += [part for name, value in SAFE_INPUT.items() for part in (f"-{name}", value)]
        command += ["-ss", f"{start_sec:.3f}", "-i", f"file:{video.absolute()}", "-t", f"{end_sec - start_sec:.3f}"]
        command += ["-map", f"0:{stream['index']}", "-map", "0:a:0?", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
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
