"""A small dataset, trained, evaluated and tabled: what the report is made of."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from synthetic import SyntheticData, evaluate_run, train_run, write_synthetic

from vmr.annotations.moments import read_moments, write_moments
from vmr.evaluation.baselines import compute_baselines
from vmr.tables.make import make_table

HOSTILE = "<script>alert('x')</script> \"quoted\" & <b>bold</b> appears"
METHODS = ("ci_mha", "ci_mha_query_blind", "lgi")
SIZES = {"hidden": 16, "query_hidden": 8, "heads": 2, "epochs": 1, "batch_size": 40, "device": "cpu"}


@dataclass(frozen=True)
class Made:
    """Everything before the report; `folder` may be written to below a name of one's own."""

    folder: Path
    data: SyntheticData
    runs: dict[tuple[str, int], Path]
    metrics: list[Path]
    baselines: Path
    table: Path
    coverage: Path

    def sources(self) -> dict:
        """Arguments of `make_report` without case studies and output."""
        return {
            "dataset": "toy",
            "title": "Toy <i>data</i>",
            "metrics": self.metrics,
            "baselines": [self.baselines],
            "published": None,
            "table_text": self.table,
            "moments": {"toy": self.data.moments},
            "manifests": [],
            "coverage": {"synthetic": self.coverage},
            "cases": [],
            "benchmarks": [],
        }


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    data = write_synthetic(
        folder,
        train_videos=5,
        test_videos=5,
        covered={f"train{i:03d}" for i in range(5)} | {f"test{i:03d}" for i in range(5, 9)},
    )
    moments = read_moments(data.moments)
    first = moments.index[moments["split"] == "test"][0]
    moments.loc[first, "sentence"] = HOSTILE
    write_moments(moments, data.moments)
    runs, metrics = {}, []
    for method in METHODS:
        for seed in (0, 1) if method == "ci_mha" else (0,):
            run = folder / "runs" / method / f"seed_{seed}"
            train_run(**data.inputs(), output_dir=run, method=method, seed=seed, **SIZES)
            evaluate_run(run, data, dataset="toy", features="synthetic")
            runs[method, seed] = run
            metrics.append(run / "metrics_test.json")
    baselines = folder / "baselines.json"
    compute_baselines(
        moments=data.moments,
        manifests=[],
        train_split="train",
        splits=["test"],
        split_name="test",
        output=baselines,
        video_scores=folder / "baselines.csv",
    )
    make_table(
        metrics=metrics,
        baselines=[baselines],
        published=None,
        output_csv=folder / "table.csv",
        output_md=folder / "table.md",
        dataset="toy",
    )
    coverage = folder / "coverage.csv"
    rows = [(f"test{i:03d}", "ok", "", 9) for i in range(5, 9)]
    rows += [("test009", "bad", "test009.mp4: no <video> stream", 0), ("gone1", "missing", "no file of this name", 0)]
    rows += [(f"lost{i:02d}", "missing", "no file of this name", 0) for i in range(20)]
    pd.DataFrame(rows, columns=["video_id", "status", "reason", "steps"]).to_csv(coverage, index=False)
    return Made(folder, data, runs, metrics, baselines, folder / "table.md", coverage)
