r"""Whether speed costs score: validation of CI-MHA trained by the straightforward loop and by ours, seed by seed.

    python benchmarks/training_scores.py --work work/charades_sim_small --runs work/charades_sim_small/scores \
        --features work/charades_sim_small/features/simulated.h5 [--ways ours_bfloat16]

Straightforward: single precision, batches in random order, every video padded, packed LSTMs, torch's dropout (the loop
of `training_epoch.py`). Ours: `vmr train` in single precision (what `auto` takes at this width on a CPU), and with
bfloat16 products and features in half precision (what it takes for wider networks); finished runs in the folder
`--runs` are taken as they are. All: the same network, initial weights, optimiser, epochs and validation videos; each
with the scores of its best epoch.
"""

import argparse
import datetime
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from i3d_speed import processor_name
from torch import nn
from torch.utils.data import DataLoader
from training_epoch import Items, batch_of, dataset_files, with_usual_layers

from vmr.annotations.moments import validation_videos
from vmr.config import read_config
from vmr.config.sections import ModelSettings, Settings, TrainingSettings
from vmr.data.collate import Collator
from vmr.data.samples import build_samples
from vmr.data.video_steps import load_videos
from vmr.features.store import FeatureStore
from vmr.methods.build import build_network
from vmr.methods.catalogue import method_settings
from vmr.queries.store import QueryStore
from vmr.settings.section import Section
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.training.inference import validation_scores
from vmr.training.loop import CRITERION
from vmr.training.run import train_run

CONFIG = Path(__file__).parents[1] / "config.yaml"
WAYS = ("straightforward", "ours", "ours_bfloat16")
SCORES = ("R@1,IoU=0.7", "R@1,IoU=0.5", "mIoU", "validation_loss")


def settings_of(dataset: str) -> Settings:
    """What config.yaml says of a dataset, so that benchmarks need not say it again."""
    return read_config(CONFIG).for_dataset(dataset)


def straightforward(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Scores of the best epoch of the common loop."""
    settings = settings_of(options.work.name)
    model, training = settings.model, settings.training
    files = dataset_files(options)
    table, _ = files.clamped_moments()
    table = table[table["split"] == "train"]
    held_out = table["video_id"].isin(validation_videos(table["video_id"], fraction=training.validation_fraction))
    queries = QueryStore(files.queries)
    with FeatureStore(files.features) as store:
        videos = load_videos(store, table["video_id"], max_steps=model.max_steps)
        dim = store.dim
    train, chooser = (build_samples(table[rows], videos, queries, drop_empty=True) for rows in (~held_out, held_out))
    torch.manual_seed(seed)
    network = build_network(method="ci_mha", video_dim=dim, word_dim=queries.dim, **model.model_dump())
    network.fit_features(videos.steps_of(video) for video in sorted(set(train.video.tolist())))
    with_usual_layers(network)
    most_words = settings.queries.max_words
    items = Items(options.features, train, queries.vectors, max_steps=model.max_steps, max_words=most_words)
    loader = DataLoader(items, batch_size=training.batch_size, shuffle=True)
    collator = Collator(videos, queries.vectors)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    best: dict[str, float] = {}
    for epoch in range(1, training.epochs + 1):
        network.train()
        for item in loader:
            batch, targets = batch_of(item, torch.device("cpu"))
            loss = network.losses(network(batch), targets).total
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), training.gradient_clip)
            optimizer.step()
        scores = validation_scores(
            network, collator, chooser, batch_size=2 * training.batch_size, precision="float32"
        ) | {"epoch": epoch}
        print(f"seed {seed}: {scores}", flush=True)
        if not best or scores[CRITERION] > best[CRITERION]:
            best = scores
    return best


def trained(options: argparse.Namespace, name: str, seed: int, **changed: Any) -> dict[str, Any]:
    """`run.json` of `vmr train` by the dataset's settings but for what is changed; a finished run is not repeated.

    Finished runs may come from another machine, without what `vmr train` knows its own by; so their settings are
    compared. The most epochs may differ where a run did not come that far.
    """
    folder = options.runs / name / f"seed_{seed}"
    settings = settings_of(options.work.name)
    rates = {"learning_rate", "batch_size", "epochs", "patience", "gradient_clip", "validation_fraction"}
    method = str(changed.get("method", "ci_mha"))
    of_method = method_settings(method, settings.methods)
    flat = settings.model.model_dump() | settings.training.model_dump(include=rates)
    flat |= of_method.model_dump(exclude_none=True) | changed | {"method": method}
    asked = {key: value for key, value in flat.items() if key != "method"}
    if not (folder / "run.json").is_file():
        train_run(
            files=dataset_files(options), output_dir=folder, seed=seed, method=method,
            model=ModelSettings.model_validate(_of(ModelSettings, asked)),
            training=TrainingSettings.model_validate(_of(TrainingSettings, asked)),
            own=type(of_method).model_validate(_of(type(of_method), asked)),
        )  # fmt: skip
    about: dict[str, Any] = json.loads((folder / "run.json").read_text())
    had, asked = about["settings"] | {"method": about["method"]}, flat
    if about["epochs_run"] < min(had["epochs"], asked["epochs"]):
        had["epochs"] = asked["epochs"]
    others = [
        f"{key} {had[key]} instead of {value}" for key, value in asked.items() if key in had and had[key] != value
    ]
    if others:
        raise SystemExit(f"{folder} holds a run with {', '.join(others)}. Move it away, or ask for what it has.")
    return about


def _of(section: type[Section], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in section.model_fields}


def scores_of(options: argparse.Namespace, name: str, seed: int, **changed: Any) -> dict[str, float]:
    """Scores of the chosen epoch, see `trained`."""
    chosen: dict[str, float] = trained(options, name, seed, **changed)["chosen_scores"]
    return chosen


def spread(rows: list[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation over seeds of each score; one seed has no deviation."""
    values = {name: [row[name] for row in rows] for name in SCORES}
    return {
        name: {"mean": statistics.fmean(x), "std": statistics.stdev(x) if len(x) > 1 else None}
        for name, x in values.items()
    }


def in_words(summary: dict[str, dict[str, float | None]]) -> str:
    """What `spread` gives, on one line."""
    return ", ".join(
        f"{name} {x['mean']:.2f}" + (f" ± {x['std']:.2f}" if x["std"] is not None else "")
        for name, x in summary.items()
    )


def main() -> None:
    """Train all ways and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the dataset: annotations, queries")
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of our runs: float32/seed_0, ...")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="others stay as they were measured")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_scores.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, list[dict[str, float]]] = {}
    if options.output.exists():
        found = json.loads(options.output.read_text())["runs"]
    found |= {name: [] for name in options.ways}
    train = {
        "straightforward": straightforward,
        "ours": lambda options, seed: scores_of(options, "float32", seed, precision="float32"),
        "ours_bfloat16": lambda options, seed: scores_of(options, "bfloat16", seed, precision="bfloat16"),
    }
    for seed in options.seeds:
        for name in options.ways:
            row = train[name](options, seed)
            found[name].append({"seed": seed, "epoch": row["epoch"], **{score: row[score] for score in SCORES}})
    result: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "threads": options.threads},
        "versions": library_versions(["torch", "numpy"]),
        "dataset": options.work.name,
        "epochs": settings_of(options.work.name).training.epochs,
        "runs": found,
        "spread": {name: spread(rows) for name, rows in found.items()},
    }
    write_json(options.output, result)
    for name, scores in result["spread"].items():
        print(f"{name:16s} {in_words(scores)}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
