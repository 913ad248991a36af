"""A whole training on a card: seconds of all epochs, memory, and how far two runs with one seed differ.

    python benchmarks/training_card.py --work work/charades_sim --features work/charades_sim/features/simulated.h5

Patience is as long as the run, so that every epoch is trained. The paper trains 100 epochs within an hour. Before it,
on the same card, some steps of the straightforward loop of `training_epoch.py`, whose mean gives its epoch. What has
been measured is in the JSON at once, since cards are often lent for minutes.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from i3d_speed import processor_name
from training_epoch import dataset_files

from vmr.config.sections import ModelSettings, TrainingSettings
from vmr.machine.devices import choose_device, describe
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.training.run import train_run

_TIMES = ("seconds",)


def train(options: argparse.Namespace, folder: Path, *, epochs: int) -> pd.DataFrame:
    """One run of CI-MHA as the paper sizes it; its history."""
    train_run(
        files=dataset_files(options), output_dir=folder, method="ci_mha", seed=0,
        model=ModelSettings(hidden=options.hidden, query_hidden=options.hidden // 2),
        training=TrainingSettings(epochs=epochs, patience=epochs, device=options.device),
    )  # fmt: skip
    return pd.read_csv(folder / "history.csv")


def straightforward(options: argparse.Namespace, output: Path) -> dict[str, float]:
    """Seconds of an epoch and of a step of the common loop, from `training_epoch.py`."""
    command = [sys.executable, str(Path(__file__).with_name("training_epoch.py")), "--work", str(options.work)]
    command += ["--features", str(options.features), "--hidden", str(options.hidden), "--device", options.device]
    subprocess.run([*command, "--parts", "times", "--output", str(output)], check=True)
    found = json.loads(output.read_text())
    step, epoch = found["seconds_a_step"]["straightforward"], found["seconds_an_epoch"]["straightforward"]
    return {"seconds_an_epoch": epoch, "seconds_a_step": step["mean"], "timed_steps": step["timed"]}


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeated-epochs", type=int, default=5, help="of a second run with the same seed")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_card.json")
    options = parser.parse_args()
    device = choose_device(options.device)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "device": describe(device)},
        "versions": library_versions(["torch", "numpy", "h5py"]),
        "hidden": options.hidden,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = straightforward(options, folder / "epoch.json")
        result |= {"straightforward": plain}
        write_json(options.output, result)
        begin = time.perf_counter()
        history = train(options, folder / "whole", epochs=options.epochs)
        seconds = time.perf_counter() - begin
        median = float(history["seconds"].median())
        on_card = device.type == "cuda"
        result |= {
            "epochs": len(history),
            "seconds_in_all": seconds,
            "seconds_an_epoch_median": median,
            "times_as_fast_as_straightforward": plain["seconds_an_epoch"] / median,
            "best_validation_mIoU": float(history["mIoU"].max()),
            "peak_memory_of_card_mb": torch.cuda.max_memory_reserved() / 2**20 if on_card else None,
            "peak_memory_allocated_mb": torch.cuda.max_memory_allocated() / 2**20 if on_card else None,
        }
        result["machine"]["load_at_end"] = os.getloadavg()[0]
        write_json(options.output, result)
        print(f"{len(history)} epochs in {seconds:.1f} s; best validation mIoU {result['best_validation_mIoU']:.2f}")
        # The first epochs of the whole run again: training does not know how many are to come.
        again = train(options, folder / "again", epochs=options.repeated_epochs)
    same = [column for column in again if column not in _TIMES]
    differences = (history[same].head(len(again)) - again[same]).abs().max()
    result["same_seed_twice"] = {"epochs": len(again), "largest_difference": differences.to_dict()}
    write_json(options.output, result)
    print(f"the same seed twice, largest differences: {differences.to_dict()}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
