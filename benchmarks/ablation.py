r"""Validation scores of CI-MHA by reading of eqs 7 to 9, weight of the segmentation task and dropout, seed by seed.

    python benchmarks/ablation.py --work work/charades_sim_small --runs work/charades_sim_small/ablation \
        --features work/charades_sim_small/features/simulated.h5 [--settings cross pad --seeds 0 1 2]

Sizes, batches and learning rate are those of charades_sim_small in config.yaml, or with `--full-scale` those of
charades_sim, the paper's (then with `--work work/charades_sim` and its features; an epoch takes some minutes on two
cores). Each run has the scores of its best epoch on the held-out training videos. Finished runs in the folder `--runs`
are taken as they are, and rows of the JSON that were not asked for stay as they were measured. docs/ablation.md tells
what follows from it.
"""

import argparse
import datetime
import json
import os
from pathlib import Path
from typing import Any

import torch
from i3d_speed import processor_name
from training_scores import SCORES, SIZES, in_words, spread, trained

from vmr.files import write_json
from vmr.provenance import library_versions

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "cross": {"alignment": "cross"},
    "pad": {"alignment": "pad"},
    "weight_0": {"segmentation_weight": 0.0},
    "weight_0.5": {"segmentation_weight": 0.5},
    "weight_2": {"segmentation_weight": 2.0},
    "dropout_0.2": {"dropout": 0.2, "lstm_dropout": 0.2},
}
# Sizes, queries in a batch and learning rate of charades_sim_small and of charades_sim in config.yaml.
SMALL: tuple[dict[str, Any], int, float] = (SIZES, 32, 5e-4)
FULL: tuple[dict[str, Any], int, float] = (
    {"hidden": 512, "query_hidden": 256, "heads": 8, "dropout": 0.2, "lstm_dropout": 0.5, "max_steps": 128}, 100, 1e-4,
)  # fmt: skip


def main() -> None:
    """Train and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the dataset: annotations, queries")
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs: SETTING/seed_0, ...")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--full-scale", action="store_true", help="the paper's sizes instead of the small ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "ablation.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes, options.batch_size, options.learning_rate = FULL if options.full_scale else SMALL
    scale = "full_scale" if options.full_scale else "settings"
    for setting in options.settings:
        rows = []
        for seed in options.seeds:
            chosen = trained(options, setting, seed, **(sizes | SETTINGS[setting]))
            rows.append({"seed": seed, **{name: chosen[name] for name in ("epoch", *SCORES)}})
        # Read just before, since another process may have measured other settings meanwhile.
        result = json.loads(options.output.read_text()) if options.output.exists() else {}
        result.setdefault(scale, {})[setting] = {
            "changed": SETTINGS[setting],
            "dataset": options.work.name,
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "machine": {"processor": processor_name(), "cores": os.cpu_count(), "threads": options.threads},
            "versions": library_versions(["torch", "numpy"]),
            "epochs": options.epochs,
            "runs": rows,
            "summary": spread(rows),
        }
        write_json(options.output, result)
        print(f"{setting:12s} {in_words(result[scale][setting]['summary'])}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
