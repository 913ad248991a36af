"""How far trainings that were repeated with the same settings and seed differ, epoch by epoch.

    python benchmarks/repeats.py --runs ONE --others OTHER

Runs are found as METHOD/seed_N in both folders. An unfinished run counts with the epochs that it has; where patience or
the most epochs ended one earlier, those that both have are compared. All columns of history.csv but the seconds.
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import pandas as pd

from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions


def device_of(run: Path) -> str:
    """What the run was trained on, as far as it ended and says so."""
    record = run / "run.json"
    return str(json.loads(record.read_text())["device"]) if record.exists() else "not told: unfinished"


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Largest difference of any number of the epochs that both runs have."""
    histories = [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in (one, other)]
    epochs = min(map(len, histories))
    first, second = (history.head(epochs) for history in histories)
    return {
        "epochs": epochs,
        "largest_difference": float((first - second).abs().to_numpy().max()),
        "devices": [device_of(one), device_of(other)],
    }


def main() -> None:
    """Compare and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--others", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "repeats.json")
    options = parser.parse_args()
    names = sorted(path.parent.relative_to(options.runs) for path in options.runs.glob("*/seed_*/history.csv"))
    runs = {
        name.as_posix(): compare(options.runs / name, options.others / name)
        for name in names
        if (options.others / name / "history.csv").exists()
    }
    if not runs:
        raise SystemExit(f"{options.runs} and {options.others} have no METHOD/seed_N/history.csv in common.")
    largest = max(run["largest_difference"] for run in runs.values())
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": library_versions(["pandas"]),
        "largest_difference": largest,
        "runs": runs,
    }
    write_json(options.output, result)
    print(f"{len(runs)} repeated runs, largest difference {largest:g}; written to {options.output}")


if __name__ == "__main__":
    main()
