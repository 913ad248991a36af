"""Other ways to run I3D's layers on a CPU, against the one that is used: fused, compiled, laid out otherwise.

    python benchmarks/i3d_variants.py [--frames 96 --rounds 5]

Each takes the same piece of noise through the layers before the last pool, in bfloat16 (all but one) and without
gradients; they run in turns and medians are reported. The weights are random: they cost what real ones cost.
"""

import argparse
import copy
import datetime
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from i3d_speed import processor_name
from torch import nn
from torch.nn import functional as F

from vmr.features import i3d_layers
from vmr.features.i3d import InceptionI3d, fold_batch_norm
from vmr.features.i3d_layers import SameMaxPool3d, Unit3d, same_padding
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

Way = Callable[[torch.Tensor], torch.Tensor]
OURS = "ours"


def network() -> InceptionI3d:
    """I3D as the extractor prepares it."""
    torch.manual_seed(0)
    model = fold_batch_norm(InceptionI3d()).to(memory_format=torch.channels_last_3d)
    return model.to(torch.bfloat16)


class FusedUnit(nn.Module):
    """A convolution whose ReLU oneDNN applies before it writes the output."""

    def __init__(self, unit: Unit3d) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What `Unit3d` gives."""
        unit, conv = self.unit, self.unit.conv3d
        sides = [same_padding(size, kernel=unit.kernel, stride=unit.stride) for size in x.shape[2:]]
        if any(before != behind for before, behind in sides):
            x = F.pad(x, [width for side in reversed(sides) for width in side])
            sides = [(0, 0)] * 3
        padding, stride = [before for before, _ in sides], [unit.stride] * 3
        fused = torch.ops.mkldnn._convolution_pointwise
        return fused(x, conv.weight, conv.bias, padding, stride, [1, 1, 1], 1, "relu", [], "")


class TorchPool(nn.Module):
    """Torch's own pool behind a padded copy."""

    def __init__(self, pool: SameMaxPool3d) -> None:
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What `SameMaxPool3d` gives; inputs are not negative."""
        sides = [
            same_padding(n, kernel=k, stride=s) for n, k, s in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        return F.max_pool3d(F.pad(x, [width for side in reversed(sides) for width in side]), self.kernel, self.stride)


def replaced(model: nn.Module, kind: type[nn.Module], other: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The network with every layer of a kind replaced, in place."""
    for name, child in model.named_children():
        if isinstance(child, kind):
            setattr(model, name, other(child))
        else:
            replaced(child, kind, other)
    return model


class PlainBlock(nn.Module):
    """An inception module of layers that do not take the padding along time."""

    def __init__(self, block: i3d_layers.InceptionBlock) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*layers)
            for layers in ((block.b0,), (block.b1a, block.b1b), (block.b2a, block.b2b), (block.b3a, block.b3b))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What `InceptionBlock` gives."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def first_convolution_plain(way: Way) -> Way:
    """The first convolution on its three channels, not in pairs."""

    def run(x: torch.Tensor) -> torch.Tensor:
        in_pairs = i3d_layers._conv_in_pairs
        i3d_layers._conv_in_pairs = lambda x, weight, bias, *, padding: F.conv3d(x, weight, bias, 2, padding)
        try:
            return way(x)
        finally:
            i3d_layers._conv_in_pairs = in_pairs

    return run


def compiled(model: InceptionI3d, x: torch.Tensor) -> tuple[Way, float]:
    """The layers through torch.compile with frozen weights, and the seconds that compiling takes."""
    torch._inductor.config.freezing = True
    # Blocks of different widths run the same code: with the usual 8 the later ones would stay as they are.
    torch._dynamo.config.recompile_limit = 256
    way = torch.compile(model.trunk, dynamic=False)
    begin = time.perf_counter()
    way(x)
    return way, time.perf_counter() - begin


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "i3d_variants.json")
    options = parser.parse_args()
    torch.manual_seed(0)
    x = torch.rand(1, 3, options.frames, 224, 224) * 2 - 1
    x = x.bfloat16().contiguous(memory_format=torch.channels_last_3d)
    model = network()
    blocks = replaced(copy.deepcopy(model), i3d_layers.InceptionBlock, PlainBlock)
    with torch.inference_mode():
        ways: dict[str, Way] = {
            OURS: model.trunk,
            "first convolution on three channels": first_convolution_plain(model.trunk),
            "torch's own pools": replaced(copy.deepcopy(blocks), SameMaxPool3d, TorchPool).trunk,
            "convolution and ReLU fused by oneDNN": replaced(copy.deepcopy(blocks), Unit3d, FusedUnit).trunk,
        }
        channels_first = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        ways["channels first"] = lambda x: channels_first.trunk(x.contiguous())
        single, exact = copy.deepcopy(model).float(), x.float()
        ways["in float32"] = lambda _: single.trunk(exact)
        expected = model.trunk(x)
    with torch.no_grad():
        ways["torch.compile, frozen"], compiling = compiled(copy.deepcopy(model), x)
        cosine = {}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(options.rounds + 1):
            for name, way in ways.items():
                begin = time.perf_counter()
                out = way(x)
                if turn:  # the first one warms up
                    seconds[name].append(time.perf_counter() - begin)
                cosine[name] = float(torch.cosine_similarity(out.flatten().float(), expected.flatten().float(), dim=0))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load_at_end": os.getloadavg()[0],
        },
        "versions": library_versions(["torch", "numpy"]),
        "frames": options.frames,
        "rounds": options.rounds,
        "compiling_sec": compiling,
        "ways": {
            name: {"seconds_median": median, "share_of_ours": median / medians[OURS], "cosine_to_ours": cosine[name]}
            for name, median in medians.items()
        },
    }
    write_json(options.output, result)
    for name, figures in result["ways"].items():
        print(f"{name:38s} {figures['seconds_median']:.3f} s, {figures['share_of_ours']:.2f}")
    print(f"compiling took {compiling:.0f} s; written to {options.output}")


if __name__ == "__main__":
    main()
