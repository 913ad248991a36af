"""Size of every layer's output before training, for every method; writes benchmarks/results/layer_scales.json.

``python benchmarks/layer_scales.py --work WORK --features FILE``, with the folder and the feature file of a
dataset, after its features and queries are there. For every layer whose output has a row for each step or word:
the root mean square of the output; the share of it that differs between the rows of one sequence; and the root
mean square of the loss's gradient there, as a share of the largest of the network. A layer with a share of next to
nothing tells its steps apart by next to nothing.
"""

import argparse
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from i3d_speed import processor_name
from torch import Tensor, nn
from training_epoch import dataset_files

from vmr.data.collate import Collator
from vmr.data.samples import build_samples
from vmr.data.video_steps import load_videos
from vmr.features.store import FeatureStore
from vmr.methods.build import build_network
from vmr.methods.catalogue import METHODS
from vmr.queries.store import QueryStore
from vmr.storage.files import write_json

SIZES = {"max_steps": 64, "hidden": 128, "query_hidden": 64, "heads": 4, "dropout": 0.0, "lstm_dropout": 0.0}
BATCH = 64


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.double().square().mean().sqrt())


def varying(x: Tensor) -> float:
    """Root mean square of what differs between the rows of a sequence (dimension 1), as a share of that of all."""
    return rms(x - x.mean(dim=1, keepdim=True)) / max(rms(x), 1e-30)


def scales(
    method: str, collator: Collator, samples: Any, rows: np.ndarray, sizes: dict[str, int]
) -> list[dict[str, Any]]:
    """Name, size, varying share and gradient of each layer of a new network, in the order of the computation."""
    entry = METHODS[method]
    torch.manual_seed(0)
    network = build_network(method=method, **SIZES, **sizes)
    network.fit_features(collator.videos.steps_of(video) for video in np.unique(samples.video))
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 3 and min(output.shape[1:]) > 1 and output.requires_grad:
                output.retain_grad()
                seen[name] = output

        return hook

    for name, module in network.named_modules():
        if name and name.count(".") < 2:
            module.register_forward_hook(keep(name))
    batch = collator(samples, rows)
    targets = collator.targets(samples, rows, batch, supervision=entry.supervision, negatives=entry.negatives)
    network.training_loss(batch, targets, stage=entry.stages[0].name if entry.stages else "").total.backward()
    gradients = {name: rms(x.grad) if x.grad is not None else 0.0 for name, x in seen.items()}
    largest = max(gradients.values())
    return [
        {"layer": name, "rms": rms(x.detach()), "varying": varying(x.detach()), "gradient": gradients[name] / largest}
        for name, x in seen.items()
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument(
        "--methods", nargs="+", default=[name for name, entry in METHODS.items() if not entry.exchanged]
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "layer_scales.json")
    options = parser.parse_args()
    files = dataset_files(options)
    table, _ = files.clamped_moments()
    queries = QueryStore(files.queries)
    with FeatureStore(files.features) as store:
        videos = load_videos(store, table["video_id"], max_steps=SIZES["max_steps"])
        sizes = {"video_dim": store.dim, "word_dim": queries.dim, "vocabulary": len(queries.words)}
    samples = build_samples(table[table["split"] == "train"], videos, queries, drop_empty=True)
    # Videos of one length, so that nothing is padded.
    counts = videos.counts[samples.video].numpy()
    length = np.bincount(counts)[2:].argmax() + 2
    rows = np.flatnonzero(counts == length)[:BATCH]
    collator = Collator(videos, queries.vectors, device=torch.device("cpu"))
    result = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "torch": torch.__version__,
        "sizes": SIZES,
        "steps": int(length),
        "queries": len(rows),
        "methods": {method: scales(method, collator, samples, rows, sizes) for method in options.methods},
    }
    write_json(options.output, result)
    for method, layers in result["methods"].items():
        print(f"\n{method}")
        for layer in layers:
            print(f"{layer['layer']:36} {layer['rms']:8.3f} {layer['varying']:8.3f} {layer['gradient']:8.3f}")


if __name__ == "__main__":
    main()
