r"""Validation scores by reading of eqs 7 to 9, weight of the segmentation task, dropout and rate, seed by seed.

    python benchmarks/ablation.py --work work/charades_sim_small --runs work/charades_sim_small/ablation \
        --features work/charades_sim_small/features/simulated.h5 [--settings cross pad --seeds 0 1 2]

The settings are those that config.yaml has for the dataset after which the folder `--work` is named, but for what is
changed: charades_sim_small takes minutes a run on a core, charades_sim (the paper's sizes) hours, or minutes on a card.
Each run has the scores of its best epoch on the held-out training videos. Finished runs in the folder `--runs` are
taken as they are, and rows of the JSON that were not asked for stay as they were measured. docs/ablation.md tells what
follows from it.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import torch
from i3d_speed import processor_name
from training_scores import SCORES, in_words, spread, trained

from vmr.methods.catalogue import METHODS
from vmr.storage.files import write_json

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "cross": {"alignment": "cross"},
    "pad": {"alignment": "pad"},
    "weight_0": {"segmentation_weight": 0.0},
    "weight_0.5": {"segmentation_weight": 0.5},
    "weight_2": {"segmentation_weight": 2.0},
    "dropout_0.2": {"dropout": 0.2, "lstm_dropout": 0.2},
}
# Trained only when asked for: other methods, and what rates and dropout of charades_sim were chosen by.
FURTHER: dict[str, dict[str, Any]] = {
    "mha": {"method": "mha"},
    "ci_mha_wo_ms": {"method": "ci_mha_wo_ms"},
    **{f"{reading}_40_epochs": {"alignment": reading, "epochs": 40} for reading in ("attention", "cross", "pad")},
    # Those of charades_sim and of the defaults, where the small scale has 0.1 for both.
    "dropout_of_full_40_epochs": {"dropout": 0.2, "lstm_dropout": 0.5, "epochs": 40},
    "lr_0.0001_40_epochs": {"learning_rate": 0.0001, "epochs": 40},
    "excl_lr_0.0003_40_epochs": {"method": "excl", "learning_rate": 0.0003, "epochs": 40},
    # At full scale, where 0.2 and 0.5 after LSTMs are the setting; VSLNet has no dropout after LSTMs.
    "dropout_0.1": {"dropout": 0.1, "lstm_dropout": 0.1},
    **{
        f"{method}_dropout_{share}": {"method": method, "dropout": share, "lstm_dropout": share} | rate
        for method, rate in (
            ("mha", {}),
            ("ci_mha_wo_ms", {}),
            ("lgi", {}),
            ("excl", {"learning_rate": 0.001}),
            ("vslnet", {"learning_rate": 0.001}),
        )
        for share in (0.1, 0.2)
    },
    **{
        f"{method}_lr_{rate}": {"method": method, "learning_rate": rate}
        for method, rate in (("excl", 0.001), ("vslnet", 0.0003), ("vslnet", 0.001), ("lgi", 0.0003), ("lgi", 0.001))
    },
    # What the rates of charades_sim_small are chosen by: the same three for every network, one seed.
    **{
        f"{name}_lr_{rate}_8_epochs": {"method": name, "learning_rate": rate, "epochs": 8}
        for name, method in METHODS.items()
        if not method.variant_of
        for rate in (0.0005, 0.001, 0.002)
    },
}


def row_of(seed: int, about: dict[str, Any], finished: Path) -> dict[str, Any]:
    """Scores of one run, and where and when it was trained: finished runs may come from another machine."""
    date = datetime.datetime.fromtimestamp(finished.stat().st_mtime, tz=datetime.UTC).date()
    chosen = about["chosen_scores"]
    return {
        "seed": seed,
        **{name: chosen[name] for name in ("epoch", *SCORES)},
        "epochs_run": about["epochs_run"],
        "epochs_at_most": about["settings"]["epochs"],
        "threads": about["threads"],
        "device": about["device"] if about["device"] != "cpu" else processor_name(),
        "torch": about["versions"]["torch"],
        "date": date.isoformat(),
    }


def main() -> None:
    """Train and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the dataset: annotations, queries")
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs: SETTING/seed_0, ...")
    parser.add_argument("--settings", nargs="+", choices=[*SETTINGS, *FURTHER], default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "ablation.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for setting in options.settings:
        changed = (SETTINGS | FURTHER)[setting]
        rows = []
        for seed in options.seeds:
            about = trained(options, setting, seed, **changed)
            rows.append(row_of(seed, about, options.runs / setting / f"seed_{seed}" / "run.json"))
        # Read just before, since another process may have measured other settings meanwhile.
        result = json.loads(options.output.read_text()) if options.output.exists() else {}
        result.setdefault(options.work.name, {})[setting] = {
            "changed": changed, "runs": rows, "summary": spread(rows)
        }  # fmt: skip
        write_json(options.output, result)
        print(f"{setting:18s} {in_words(result[options.work.name][setting]['summary'])}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
