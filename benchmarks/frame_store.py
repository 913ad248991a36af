"""Measure ways to keep decoded frames: size against the raw video, frames written and read a second, PSNR, features.

    .venv/bin/python benchmarks/frame_store.py ../shared/data/videos/3MSZA.mp4 ../shared/data/videos/v_ZNVhz7ctTq0.mp4

Each video is brought to 24 fps and a short side of 256 as RGB; every candidate keeps those frames, and what it
gives back is compared with them: the pictures, and I3D's features of exact windows, one window after another.
"""

import argparse
import datetime
import io
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import h5py
import numpy as np
import torch
from extraction import write_i3d_weights
from i3d_speed import WINDOW, encode, processor_name
from PIL import Image

from vmr.config.feature_sections import ExtractorSettings
from vmr.features.extractors import Extractor, build_extractor
from vmr.machine.devices import choose_device
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

FPS, SHORT_SIDE = 24, 256
SWS = "bilinear+accurate_rnd+full_chroma_int"


@dataclass(frozen=True)
class Candidate:
    """A way to keep frames: bytes out of frames, and frames out of bytes."""

    name: str
    encode: Callable[[np.ndarray], list[bytes]]
    decode: Callable[[list[bytes], tuple[int, ...]], np.ndarray]


def run(stream, data: bytes | None = None) -> bytes:
    """Run a command that ffmpeg-python built; its standard output."""
    command = ffmpeg.compile(stream.global_args("-v", "error", "-threads", "1"))
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def source_frames(path: Path) -> np.ndarray:
    """Frames of a video at 24 fps and short side 256, (n, H, W, 3) uint8 RGB."""
    video = next(s for s in ffmpeg.probe(str(path))["streams"] if s["codec_type"] == "video")
    scale = SHORT_SIDE / min(video["width"], video["height"])
    width, height = (2 * round(video[side] * scale / 2) for side in ("width", "height"))
    stream = ffmpeg.input(str(path)).video.filter("fps", FPS, round="up", start_time=0)
    stream = stream.filter("scale", width, height, flags=SWS)
    raw = run(stream.output("pipe:", format="rawvideo", pix_fmt="rgb24"))
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def video_codec(name: str, *, container: str, pix_fmt: str, **options: object) -> Candidate:
    """Candidate that keeps one video stream, one GOP every two seconds."""

    def encode(frames: np.ndarray) -> list[bytes]:
        height, width = frames.shape[1:3]
        source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=FPS)
        source = source.filter("scale", out_color_matrix="bt601", out_range="tv", flags=SWS)
        target = source.output("pipe:", format=container, pix_fmt=pix_fmt, g=2 * FPS, **options)
        return [run(target, frames.tobytes())]

    def decode(parts: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
        source = ffmpeg.input("pipe:", format=container, threads=1)
        source = source.filter("scale", in_color_matrix="bt601", in_range="tv", flags=SWS)
        raw = run(source.output("pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough"), parts[0])
        return np.frombuffer(raw, np.uint8).reshape(shape)

    return Candidate(name, encode, decode)


def jpeg(quality: int, subsampling: str) -> Candidate:
    """Candidate that keeps every frame as a JPEG."""

    def encode(frames: np.ndarray) -> list[bytes]:
        parts = []
        for frame in frames:
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
            parts.append(buffer.getvalue())
        return parts

    def decode(parts: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
        return np.stack([np.asarray(Image.open(io.BytesIO(part))) for part in parts])

    return Candidate(f"jpeg q{quality} {subsampling}", encode, decode)


def lzf_chunks() -> Candidate:
    """Candidate that keeps raw frames in LZF-compressed HDF5 chunks, the quickest that h5py offers by itself."""

    def encode(frames: np.ndarray) -> list[bytes]:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("frames", data=frames, chunks=(1, *frames.shape[1:]), compression="lzf", shuffle=True)
        return [buffer.getvalue()]

    def decode(parts: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
        with h5py.File(io.BytesIO(parts[0]), "r") as file:
            return np.asarray(file["frames"][:])

    return Candidate("hdf5 lzf", encode, decode)


def candidates() -> list[Candidate]:
    """All ways that are measured."""
    x264 = {"container": "h264", "vcodec": "libx264", "pix_fmt": "yuv420p"}
    return [
        *(
            video_codec(f"h264 {preset} crf {crf}", preset=preset, crf=crf, **x264)
            for preset, crf in [
                ("ultrafast", 12), ("superfast", 12), ("veryfast", 8), ("veryfast", 10), ("veryfast", 12),
                ("veryfast", 14), ("veryfast", 18), ("medium", 12),
            ]
        ),
        *(
            video_codec(
                f"h264 veryfast crf 12 subme {subme} cavlc", preset="veryfast", crf=12,
                **(x264 | {"x264-params": f"subme={subme}:cabac=0"}),
            )
            for subme in (0, 1)
        ),
        video_codec("h264 veryfast crf 12 4:4:4", preset="veryfast", crf=12, **(x264 | {"pix_fmt": "yuv444p"})),
        video_codec("h264 veryfast crf 14 4:4:4", preset="veryfast", crf=14, **(x264 | {"pix_fmt": "yuv444p"})),
        video_codec(
            "h265 ultrafast crf 12", container="hevc", vcodec="libx265", pix_fmt="yuv420p", preset="ultrafast", crf=12,
            **{"x265-params": "log-level=error"},
        ),
        jpeg(90, "4:2:0"),
        jpeg(95, "4:4:4"),
        lzf_chunks(),
    ]  # fmt: skip


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all frames and channels."""
    error = np.mean([np.mean((x.astype(np.float32) - y) ** 2) for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def measure(
    candidate: Candidate, frames: np.ndarray, *, raw_bytes: int, extractor: Extractor, direct: torch.Tensor
) -> dict[str, object]:
    """Write and read the frames once each; compare features of what comes back with those of the frames, `direct`."""
    start = time.perf_counter()
    parts = candidate.encode(frames)
    with tempfile.NamedTemporaryFile(suffix=".h5") as file, h5py.File(file.name, "w") as store:
        store["stream"] = np.frombuffer(b"".join(parts), np.uint8)
    written = time.perf_counter()
    back = candidate.decode(parts, frames.shape)
    end = time.perf_counter()
    size = sum(map(len, parts))
    fidelity = psnr(frames, back)
    # Frames that come back as they were have the same features.
    cosine = torch.cosine_similarity(encode(extractor, back), direct) if np.isfinite(fidelity) else torch.ones(1)
    return {
        "candidate": candidate.name,
        "bytes": size,
        "times_raw_video": round(size / raw_bytes, 3),
        "psnr_db": round(fidelity, 2) if np.isfinite(fidelity) else None,
        "feature_cosine_mean": round(float(cosine.mean()), 5),
        "feature_cosine_min": round(float(cosine.min()), 5),
        "written_frames_per_sec": round(len(frames) / (written - start)),
        "read_frames_per_sec": round(len(frames) / (end - written)),
    }


def main() -> None:
    """Measure all candidates on the videos given and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "frame_store.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = str(write_i3d_weights(Path(folder)))
        settings = ExtractorSettings(weights=weights, window=WINDOW, stride=WINDOW, padding="valid")
        extractor = build_extractor("i3d", settings, device=choose_device("auto"))
    results = {}
    for path in options.videos:
        frames, raw_bytes = source_frames(path), path.stat().st_size
        direct = encode(extractor, frames)
        rows = []
        for candidate in candidates():
            row = measure(candidate, frames, raw_bytes=raw_bytes, extractor=extractor, direct=direct)
            print(path.name, *row.values(), sep="\t", flush=True)
            rows.append(row)
        results[path.name] = {
            "frames": len(frames), "size": frames.shape[2:0:-1], "raw_bytes": raw_bytes, "windows": len(direct),
            "rows": rows,
        }  # fmt: skip
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    write_json(
        options.output,
        {
            "date": datetime.date.today().isoformat(),
            "machine": {"cpus": os.cpu_count(), "processor": processor_name(), "system": platform.platform()},
            "versions": {"ffmpeg": version, **library_versions(["ffmpeg-python", "h5py", "numpy", "pillow", "torch"])},
            "settings": {
                "fps": FPS,
                "short_side": SHORT_SIDE,
                "codec_threads": 1,
                "features": f"i3d, {str(extractor.dtype).removeprefix('torch.')}",
            },
            "videos": results,
        },
    )


if __name__ == "__main__":
    main()
