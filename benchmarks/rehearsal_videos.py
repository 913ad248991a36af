r"""Short videos with all the names, shapes and frame rates of Charades-STA, for a rehearsal of the main command.

    python benchmarks/rehearsal_videos.py --annotations FOLDER --output work/rehearsal [--videos 6672]

FOLDER holds the annotations and metadata of Charades-STA and `Charades_fps_size_info.csv`, which lists size and rate of
every video. The videos are 1.5 to 3 s long instead of 30, their shorter side has 192 pixels. Moments are scaled alike,
and each shows a picture that its verb chooses, so that something can be learnt. A tenth is not H.264. Some are rotated
by a tag, have a variable frame rate, sound or no B-frames. One in two hundred is truncated, empty, missing or has an
extension that no video has. Same arguments, same files. They lie in `OUTPUT/data/charades`, where the dataset
`charades` looks for them; `OUTPUT/troubles.csv` says which are bad.
"""

import argparse
import csv
import itertools
import os
import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vmr.storage.files import atomic_path
from vmr.synthetic.events import KINDS, Canvas

SHORT_SIDE = 192
SHORTEST_SEC, LONGEST_SEC = 1.5, 3.0
# The fractal takes more than all the others together.
PICTURES = sorted(set(KINDS) - {"fractal"})
CODECS = {"libx265": 0.04, "libvpx-vp9": 0.03, "mpeg4": 0.03}
ROTATED, VARIABLE, WITH_SOUND, WITHOUT_B_FRAMES = 0.03, 0.05, 0.8, 0.2
TROUBLES = ("truncated", "empty", "missing", "extension")
TROUBLED = 1 / 200
# What Charades' sentences have before their verb.
BEFORE_VERBS = (
    *("a", "an", "the", "person", "man", "woman", "guy", "girl", "boy", "he", "she", "they", "people", "another"),
    *("other", "one", "someone", "is", "are", "was", "begins", "starts", "start", "started", "begin", "then", "and"),
    *("to", "of", "in", "by", "they're", "with", "up", "there", "this", "that", "young", "old"),
)


@dataclass(frozen=True)
class Video:
    """What one video is to be.

    Attributes:
        video_id: as in the annotations.
        length_sec: as the metadata have it.
        short_sec: as it is rendered.
        canvas: size and rate.
        moments: start and end in the short video, and the sentence.
    """

    video_id: str
    length_sec: float
    short_sec: float
    canvas: Canvas
    moments: list[tuple[float, float, str]]


def picture_of(sentence: str) -> str:
    """The picture of the sentence's verb, the first word that is not in front of verbs."""
    words = [word for word in re.findall(r"[a-z']+", sentence.lower()) if word not in BEFORE_VERBS]
    stem = words[0][:4] if words else ""
    return random.Random(stem).choice(PICTURES)


def read_videos(folder: Path, count: int | None) -> tuple[list[Video], dict[str, list[tuple[str, float, float, str]]]]:
    """The videos of the annotations, and the annotation lines of each split with scaled times."""
    lengths: dict[str, float] = {}
    for split in ("train", "test"):
        with (folder / f"Charades_v1_{split}.csv").open(newline="", encoding="utf-8") as file:
            lengths |= {row["id"]: float(row["length"]) for row in csv.DictReader(file)}
    shapes = {}
    for line in (folder / "Charades_fps_size_info.csv").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"[^,]*,([^.]+)\.mp4, (\d+)x(\d+)[^,]*, ([\d.]+) fps", line):
            shapes[found[1]] = (int(found[2]), int(found[3]), f"{round(100 * float(found[4]))}/100")
    lines = {}
    for split in ("train", "test"):
        lines[split] = [
            (*line.split("##", 1)[0].split(), line.split("##", 1)[1])
            for line in (folder / f"charades_sta_{split}.txt").read_text(encoding="utf-8").splitlines()
        ]
    named = list(dict.fromkeys(name for split in lines.values() for name, *_ in split))
    if count is not None:
        named = sorted(named, key=lambda name: random.Random(name).random())[:count]
    videos = {}
    for name in named:
        width, height, rate = shapes[name]
        scale = SHORT_SIDE / min(width, height)
        # Nearly all last 20 to 40 s: a tenth would make them one length.
        short = SHORTEST_SEC + (LONGEST_SEC - SHORTEST_SEC) * min(max((lengths[name] - 10) / 40, 0), 1)
        canvas = Canvas(2 * round(width * scale / 2), 2 * round(height * scale / 2), rate)
        videos[name] = Video(name, lengths[name], short, canvas, [])
    scaled: dict[str, list[tuple[str, float, float, str]]] = {}
    for split, rows in lines.items():
        scaled[split] = []
        for name, start, end, sentence in rows:
            if video := videos.get(name):
                by = video.short_sec / video.length_sec
                scaled[split].append((name, round(float(start) * by, 3), round(float(end) * by, 3), sentence))
                video.moments.append(scaled[split][-1][1:])
    return list(videos.values()), scaled


def graph_of(video: Video, rng: random.Random) -> str:
    """Filter graph of the whole video: at each time the picture of the shortest moment, else a plain one."""
    canvas, fps = video.canvas, video.canvas.fps
    frames = max(round(video.short_sec * fps), 2)
    spans = [(round(start * fps), round(end * fps), text) for start, end, text in video.moments if start < end]
    edges = sorted({0, frames, *(min(max(at, 0), frames) for start, end, _ in spans for at in (start, end))})
    drawn = {text: KINDS[picture_of(text)](rng, canvas).graph for _, _, text in spans}
    parts: list[str] = []
    for first, last in itertools.pairwise(edges):
        over = [span for span in spans if span[0] <= first and last <= span[1]]
        plain = f"color=#282828:size={canvas.size}:rate={canvas.rate}"
        graph = drawn[min(over, key=lambda span: span[1] - span[0])[2]] if over else plain
        parts.append(
            f"{graph},fps={canvas.rate},format=yuv420p,setsar=1,setpts=PTS-STARTPTS,trim=end_frame={last - first}"
            f"[part{len(parts)}]"
        )
    joined = "".join(f"[part{number}]" for number in range(len(parts)))
    drop = ",select='mod(n,5)'" if rng.random() < VARIABLE else ""
    return ";".join([*parts, f"{joined}concat=n={len(parts)}:v=1:a=0{drop}[video]"])


def render(video: Video, folder: Path) -> str | None:
    """Write one video; the trouble that it was given, if any."""
    rng = random.Random(f"0:{video.video_id}")
    trouble = rng.choice(TROUBLES) if rng.random() < TROUBLED else None
    path = folder / f"{video.video_id}.mp4"
    if trouble == "missing":
        return trouble
    if trouble == "empty":
        path.touch()
        return trouble
    codec = rng.choices([*CODECS, "libx264"], [*CODECS.values(), 1 - sum(CODECS.values())])[0]
    options = {
        "libx264": ["-preset", "veryfast", "-crf", "28"],
        "libx265": [
            "-preset",
            "ultrafast",
            "-crf",
            "30",
            "-x265-params",
            "log-level=none:pools=none",
            "-tag:v",
            "hvc1",
        ],
        "libvpx-vp9": ["-deadline", "realtime", "-cpu-used", "8", "-b:v", "200k"],
        "mpeg4": ["-q:v", "8"],
    }[codec]
    if codec == "libx264" and rng.random() < WITHOUT_B_FRAMES:
        options += ["-bf", "0"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-filter_complex_threads", "1"]
    command += ["-filter_complex", graph_of(video, rng), "-map", "[video]"]
    if rng.random() < WITH_SOUND:
        sound = f"sine=frequency={rng.randrange(200, 900)}:duration={video.short_sec}[sound]"
        command[command.index("-filter_complex") + 1] += f";{sound}"
        command += ["-map", "[sound]", "-c:a", "aac", "-b:a", "32k"]
    if rng.random() < ROTATED:
        command += ["-metadata:s:v", "rotate=90"]
    command += ["-fps_mode", "vfr", "-c:v", codec, *options, "-threads", "1", "-pix_fmt", "yuv420p"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{video.video_id}: ffmpeg failed: {done.stderr[-800:]}")
    if trouble == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    if trouble == "extension":
        path.rename(path.with_suffix(".download"))
    return trouble


def main() -> None:
    """Render everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--videos", type=int, help="only so many of them")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    videos, scaled = read_videos(options.annotations, options.videos)
    data = options.output / "data" / "charades"
    folder = data / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.workers) as pool:
        found = list(tqdm(pool.map(lambda video: render(video, folder), videos), total=len(videos), unit="video"))
    lengths = {video.video_id: video.short_sec for video in videos}
    for split, rows in scaled.items():
        with atomic_path(data / f"charades_sta_{split}.txt") as path:
            path.write_text("".join(f"{name} {start} {end}##{text}\n" for name, start, end, text in rows))
        with atomic_path(data / f"Charades_v1_{split}.csv") as path:
            names = dict.fromkeys(row[0] for row in rows)
            path.write_text("id,length\n" + "".join(f"{name},{lengths[name]:.3f}\n" for name in names))
    with atomic_path(options.output / "troubles.csv") as path:
        troubles = [
            (video.video_id, trouble) for video, trouble in zip(videos, found, strict=True) if trouble is not None
        ]
        path.write_text("video_id,trouble\n" + "".join(f"{name},{trouble}\n" for name, trouble in troubles))
    print(f"{len(videos)} videos, {len(troubles)} of them bad, in {folder}")


if __name__ == "__main__":
    main()
