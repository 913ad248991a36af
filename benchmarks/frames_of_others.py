"""Measure how far I3D's features are from those of frames that ffmpeg chose and scaled, each difference by itself.

    .venv/bin/python benchmarks/frames_of_others.py ../shared/data/videos/{3MSZA,v_ZNVhz7ctTq0,nasa_13013}.mp4

The reference is `ffmpeg -i VIDEO -vf fps=24,scale=...`, bicubic as ffmpeg scales unless told otherwise, kept without
loss: what features of other people are made of. Each row changes one thing of it. The last two are our own stage.
"""

import argparse
import datetime
import os
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from extraction import write_i3d_weights
from i3d_speed import WINDOW, cosine, encode, processor_name

from vmr.config.feature_sections import ExtractorSettings
from vmr.config.sections import VideoSettings
from vmr.features.extractors import build_extractor
from vmr.machine.devices import choose_device
from vmr.names import FrameChoice
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video.decode import decode_frames
from vmr.video.frames import FrameStore
from vmr.video.manifest import MANIFEST_COLUMNS, write_manifest
from vmr.video.probe import probe_video
from vmr.video.reader import kept_size
from vmr.video.stream import command_line, decoded_frames, encoded_output, ffmpeg_version, input_node
from vmr.video.timeline import read_timeline

FPS, SHORT_SIDE, STRIDE = 24, 256, 16


def frames_of(path: Path, size: tuple[int, int], *options: str, filters: str = "", scaling: str) -> np.ndarray:
    """Frames that an ffmpeg command gives, (n, H, W, 3) uint8 RGB."""
    scale = f"scale={size[0]}:{size[1]}:flags={scaling}"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", *options, "-vf", filters + scale]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True)
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, size[1], size[0], 3)


def stored(frames: np.ndarray) -> np.ndarray:
    """The frames as the store's codec gives them back."""
    height, width = frames.shape[1:3]
    source = input_node("pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=FPS)
    encoded = encoded_output(source.video, width=width, height=height)
    command = command_line(encoded, "error")
    stream = subprocess.run(command, input=frames.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    return np.concatenate(list(decoded_frames(lambda a, b: stream[a:b], size=len(stream), width=width, height=height)))


def by_the_stage(path: Path, choice: FrameChoice, folder: Path) -> np.ndarray:
    """Frames of the frame store that our stage makes."""
    write_manifest(
        [{"video_id": "video", **probe_video(path, timeout_sec=60)}], folder / "probed.csv", columns=MANIFEST_COLUMNS
    )
    decode_frames(
        manifest=folder / "probed.csv",
        output=folder / f"{choice}.h5",
        decoded_manifest=folder / "decoded.csv",
        settings=VideoSettings(fps=FPS, frame_choice=choice, short_side=SHORT_SIDE),
    )
    with FrameStore(folder / f"{choice}.h5") as store:
        return np.concatenate(list(store.read("video")))


def compared(ours: torch.Tensor, theirs: torch.Tensor) -> dict[str, float]:
    """Mean and smallest cosine of the steps that both have."""
    steps = min(len(ours), len(theirs))
    return {key: round(value, 5) for key, value in cosine(ours[:steps], theirs[:steps]).items()}


def ways(path: Path, size: tuple[int, int], reference: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Frames of each way by its name."""
    timeline = read_timeline(path, timeout_sec=60)
    every = frames_of(path, size, "-fps_mode", "passthrough", scaling="bicubic")
    return {
        "frame choice: nearest": every[timeline.frame_indices(FPS, "nearest")],
        "frame choice: shown": every[timeline.frame_indices(FPS, "shown")],
        "frame choice: ffmpeg -r 24": frames_of(path, size, "-r", str(FPS), scaling="bicubic"),
        "scaling: bilinear": frames_of(path, size, filters=f"fps={FPS},", scaling="bilinear"),
        "store: H.264": stored(reference),
        "the stage, nearest": by_the_stage(path, "nearest", folder),
        "the stage, shown": by_the_stage(path, "shown", folder),
    }


def main() -> None:
    """Measure the videos given and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "frames_of_others.json")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        settings = ExtractorSettings(weights=str(write_i3d_weights(Path(name))), window=WINDOW, stride=STRIDE)
        extractor = build_extractor("i3d", settings, device=choose_device("auto"))
        for path in options.videos:
            probed = probe_video(path, timeout_sec=60)
            size = kept_size(probed["width"], probed["height"], short_side=SHORT_SIDE)
            reference = frames_of(path, size, filters=f"fps={FPS},", scaling="bicubic")
            theirs = encode(extractor, reference)
            given = ways(path, size, reference, Path(name))
            # The option -r chooses frames by another rule of ffmpeg, so it is a second reference.
            by_option = encode(extractor, given["frame choice: ffmpeg -r 24"])
            rows = {}
            for way, frames in given.items():
                count = min(len(frames), len(reference))
                same = [np.array_equal(*pair) for pair in zip(frames[:count], reference[:count], strict=True)]
                ours = theirs if all(same) and len(frames) == len(reference) else encode(extractor, frames)
                rows[way] = {
                    "frames": len(frames),
                    "equal_frames": sum(same),
                    "feature_cosine": compared(ours, theirs),
                    "feature_cosine_to_ffmpeg_r_24": compared(ours, by_option),
                }
                print(path.name, way, *rows[way].values(), sep="\t", flush=True)
            results[path.name] = {
                "fps": round(probed["fps"], 3), "frames_of_ffmpeg": len(reference), "steps": len(theirs), "ways": rows,
            }  # fmt: skip
    write_json(
        options.output,
        {
            "date": datetime.date.today().isoformat(),
            "machine": {"cpus": os.cpu_count(), "processor": processor_name(), "system": platform.platform()},
            "versions": {"ffmpeg": ffmpeg_version(), **library_versions(["decord", "numpy", "torch"])},
            "settings": {
                "fps": FPS, "short_side": SHORT_SIDE, "stride": STRIDE,
                "features": f"i3d, {str(extractor.dtype).removeprefix('torch.')}",
            },
            "videos": results,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
