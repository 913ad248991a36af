"""Renders a small data set in the Charades-STA layout: real videos of synthetic events, with sentences about them.

For trying the whole pipeline, and for testing it, where no footage may be shipped. Everything is drawn by ffmpeg.
"""

import logging
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vmr.config.datasets import RenderSettings
from vmr.errors import VideoError
from vmr.storage.files import atomic_path, sha256_file, writing
from vmr.storage.records import write_rows
from vmr.synthetic.events import KINDS, Canvas
from vmr.synthetic.sentences import sentences

logger = logging.getLogger(__name__)

EVENTS_PER_VIDEO = 3
SENTENCES_PER_EVENT = 3
_RATES = ("12", "15", "24000/1001", "25", "30000/1001", "30")
_SIZES = ((320, 240), (256, 256), (426, 240), (240, 320), (352, 198))
_GAP_CHANCE = 0.25
_GAP_SEC = (0.3, 1.0)
_TIMEOUT_SEC = 120.0


@dataclass(frozen=True)
class Scene:
    """One video before it is rendered."""

    video_id: str
    duration_sec: float  # exact length, a whole number of frames
    graph: str  # filter graph of ffmpeg whose output ``[video]`` is the whole video
    moments: tuple[tuple[float, float, str], ...]  # (start, end, sentence) with seconds from the beginning


def render_demo(*, output: Path, settings: RenderSettings, workers: int) -> None:
    """Render the demo data set.

    Each video holds three events of different kinds (of eight, see `vmr.synthetic.events`) with random
    boundaries, here and there a plain pause between them, and three sentences an event. Test videos have sentences
    of which some wordings never occur in training. Written to `output`: ``videos/{id}.mp4``,
    ``demo_{train,test}.txt`` (Charades-STA text), ``demo_{train,test}.csv`` (columns id, length) and, last,
    ``videos.sha256`` in the format of sha256sum.

    Args:
        output: folder; its earlier demo is replaced.

    Raises:
        VideoError: ffmpeg is missing or cannot render a video.
        ShardError: the disk is full or the folder cannot be written.
    """
    splits = {
        split: [
            make_scene(index, split=split, seed=settings.seed, duration_sec=settings.duration_sec)
            for index in range(count)
        ]
        for split, count in (("train", settings.train_videos), ("test", settings.test_videos))
    }
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        listing, videos = output / "videos.sha256", output / "videos"
        listing.unlink(missing_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".videos.", dir=output))
        try:
            temporary.chmod(0o755)
            scenes = [scene for split in splits.values() for scene in split]
            _render_all(scenes, temporary, workers=workers)
            for split, split_scenes in splits.items():
                _write_annotations(split_scenes, output, split=split)
            if videos.exists():
                shutil.rmtree(videos)
            temporary.rename(videos)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        with atomic_path(listing) as path:
            lines = (f"{sha256_file(video)}  videos/{video.name}\n" for video in sorted(videos.glob("*.mp4")))
            path.write_text("".join(lines), encoding="utf-8")
    logger.info("rendered %d training and %d test videos in %s", *map(len, splits.values()), output)


def make_scene(index: int, *, split: str, seed: int, duration_sec: float) -> Scene:
    """Draw one video: canvas, kinds, boundaries, pictures and sentences. Equal arguments give equal scenes."""
    # Seeded by text and not by `hash`, which differs from process to process.
    rng = random.Random(f"{seed}:{split}:{index}")
    width, height = _SIZES[index % len(_SIZES)]
    canvas = Canvas(width, height, _RATES[index % len(_RATES)])
    frames = round(duration_sec * rng.uniform(0.94, 1.06) * canvas.fps)
    parts: list[str] = []
    moments: list[tuple[float, float, str]] = []
    kinds = rng.sample(sorted(KINDS), EVENTS_PER_VIDEO)
    position = 0
    for kind, length in _timeline(rng, kinds, frames, fps=canvas.fps):
        if kind is None:
            graph = f"color=#{rng.choice(['101010', '282828', '404040'])}:size={canvas.size}:rate={canvas.rate}"
        else:
            picture = KINDS[kind](rng, canvas)
            graph = picture.graph
            start, end = position / canvas.fps, (position + length) / canvas.fps
            moments += [
                (start, end, sentence)
                for sentence in sentences(
                    rng,
                    kind,
                    count=SENTENCES_PER_EVENT,
                    fast=picture.fast,
                    colours=picture.colours,
                    unseen=split == "test",
                )
            ]
        number = len(parts)
        parts.append(
            f"{graph},setpts=PTS-STARTPTS,fps={canvas.rate},format=yuv420p,setsar=1,trim=end_frame={length}[part{number}]"
        )
        position += length
    joined = "".join(f"[part{number}]" for number in range(len(parts)))
    return Scene(
        video_id=f"{split}{index:03d}",
        duration_sec=frames / canvas.fps,
        graph=";".join([*parts, f"{joined}concat=n={len(parts)}:v=1:a=0[video]"]),
        moments=tuple(moments),
    )


def _timeline(rng: random.Random, kinds: list[str], frames: int, *, fps: float) -> list[tuple[str | None, int]]:
    """(kind or None for a pause, frames) one after another, `frames` in sum; events from an eighth to a half of it."""
    pauses = [round(rng.uniform(*_GAP_SEC) * fps) if rng.random() < _GAP_CHANCE else 0 for _ in range(len(kinds) + 1)]
    weights = [rng.uniform(1.0, 3.5) for _ in kinds]
    left = frames - sum(pauses)
    edges = [round(left * sum(weights[:count]) / sum(weights)) for count in range(len(kinds) + 1)]
    timeline: list[tuple[str | None, int]] = [(None, pauses[0])]
    for index, kind in enumerate(kinds):
        timeline += [(kind, edges[index + 1] - edges[index]), (None, pauses[index + 1])]
    return [(kind, length) for kind, length in timeline if length > 0]


def _render_all(scenes: list[Scene], folder: Path, *, workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        rendered = pool.map(_render, scenes, [folder / f"{scene.video_id}.mp4" for scene in scenes])
        for _ in tqdm(rendered, total=len(scenes), desc="render", unit="video", disable=None):
            pass  # an error here cancels what has not begun


def _render(scene: Scene, path: Path) -> None:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-filter_complex_threads", "1"]
    command += ["-filter_complex", scene.graph, "-map", "[video]"]
    # One thread and no version or date inside, so that the same ffmpeg writes the same bytes.
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-threads", "1", "-pix_fmt", "yuv420p"]
    command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-movflags", "+faststart"]
    try:
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=_TIMEOUT_SEC, check=False)
    except FileNotFoundError as error:
        raise VideoError("ffmpeg was not found. Install it (Debian, Ubuntu: apt install ffmpeg).") from error
    except subprocess.TimeoutExpired as error:
        raise VideoError(
            f"{scene.video_id}: ffmpeg took longer than {_TIMEOUT_SEC:.0f} s for {scene.duration_sec:.1f} s of demo "
            "video. Is the machine overloaded? Try again with fewer workers."
        ) from error
    if done.returncode != 0:
        raise VideoError(
            f"{scene.video_id}: ffmpeg cannot render the demo (exit status {done.returncode}): "
            f"{done.stderr.strip()[-500:]}. The demo needs ffmpeg 5.1 or newer with libx264."
        )


def _write_annotations(scenes: Sequence[Scene], output: Path, *, split: str) -> None:
    with atomic_path(output / f"demo_{split}.txt") as path:
        lines = (
            f"{scene.video_id} {start:.2f} {end:.2f}##{sentence}\n"
            for scene in scenes
            for start, end, sentence in scene.moments
        )
        path.write_text("".join(lines), encoding="utf-8")
    lengths = ([scene.video_id, f"{scene.duration_sec:.2f}"] for scene in scenes)
    write_rows(output / f"demo_{split}.csv", ["id", "length"], lengths)
