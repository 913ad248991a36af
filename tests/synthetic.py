"""A small dataset with planted moments, in the files that training reads: moments, features, queries; and its runs.

Each video is a row of events of different kinds; the features of a step are its event's random direction plus
noise; sentences name an event by words. Nothing here is a copy of anything.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from sectioned import sectioned
from written import write_features

import vmr.training.loop as loop
import vmr.training.predict
import vmr.training.run
from vmr.annotations.moments import write_moments
from vmr.config.sections import EvaluationSettings, ModelSettings, TrainingSettings
from vmr.data.dataset import DatasetFiles
from vmr.evaluation.evaluate import evaluate_predictions
from vmr.methods.catalogue import METHODS
from vmr.queries.embed import embed_queries

STEP_SEC = 1 / 3
SMALL = {"hidden": 8, "query_hidden": 4, "heads": 2, "batch_size": 16, "learning_rate": 1e-3, "device": "cpu"}
KINDS = ("fractal", "wave", "counter", "noise", "tiles", "gradient")
TEMPLATES = ("the {} appears", "we see the {}", "a {} is shown on the screen .", "then there is the {}")


@dataclass(frozen=True)
class SyntheticData:
    """Paths of the files."""

    moments: Path
    features: Path
    queries: Path
    vectors: Path

    def inputs(self, **changed: Path) -> dict[str, object]:
        """Arguments that train_run and predict_run share, maybe with other files."""
        own = {"moments": self.moments, "features": self.features, "queries": self.queries}
        return {"files": DatasetFiles(**own | changed)}


def write_synthetic(
    folder: Path,
    *,
    train_videos: int = 30,
    test_videos: int = 10,
    dim: int = 32,
    word_dim: int = 12,
    noise: float = 0.5,
    seed: int = 0,
    covered: set[str] | None = None,
) -> SyntheticData:
    """Write the dataset; `covered` names the videos that get features (all of them by default)."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(len(KINDS), dim))
    rows: list[dict[str, object]] = []
    videos: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for number in range(train_videos + test_videos):
        split = "train" if number < train_videos else "test"
        video_id = f"{split}{number:03d}"
        lengths = random.integers(4, 10, size=3)
        kinds = random.choice(len(KINDS), size=3, replace=False)
        steps = int(lengths.sum())
        edges = np.arange(steps + 1) * STEP_SEC
        signal = np.repeat(directions[kinds], lengths, axis=0)
        features = (signal + noise * random.normal(size=signal.shape)).astype(np.float32)
        videos[video_id] = (features, edges[:-1], edges[1:])
        begin = 0.0
        for kind, length in zip(kinds, lengths, strict=True):
            end = begin + float(length) * STEP_SEC
            for template in random.choice(TEMPLATES, size=2, replace=False):
                rows.append(
                    {
                        "query_id": f"{split}:{len(rows) + 1}",
                        "video_id": video_id,
                        "split": split,
                        "start_sec": begin,
                        "end_sec": end,
                        "duration_sec": steps * STEP_SEC,
                        "sentence": template.format(KINDS[kind]),
                    }
                )
            begin = end
    data = SyntheticData(folder / "moments.csv", folder / "features.h5", folder / "queries.h5", folder / "glove.txt")
    write_moments(pd.DataFrame(rows), data.moments)
    shown = {name: video for name, video in videos.items() if covered is None or name in covered}
    write_features(data.features, shown, dim=dim)
    words = sorted({word for template in TEMPLATES for word in template.replace("{}", "").split()} | set(KINDS[1:]))
    write_glove(data.vectors, {word: random.normal(size=word_dim) for word in words})
    embed_queries(
        moments=data.moments, vectors=data.vectors, output=data.queries, report=folder / "queries.json", max_words=25
    )
    return data


def write_glove(path: Path, vectors: dict[str, np.ndarray]) -> None:
    """Write word vectors in GloVe's text format."""
    lines = [" ".join([word, *(f"{number:.5f}" for number in vector)]) for word, vector in vectors.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def predict_run(*, device: str = "cpu", **values) -> dict[str, np.ndarray]:
    """Predict as the stage does, with the settings of its section given flat."""
    return vmr.training.predict.predict_run(device=device, **sectioned(EvaluationSettings, values, name="evaluation"))


def train_run(*, method: str = "ci_mha", seed: int = 0, **values) -> None:
    """Train as the stage does, with the settings of all its sections given flat."""
    own = METHODS[method].settings if method in METHODS else None
    sections = {"model": ModelSettings, "training": TrainingSettings} | ({"own": own} if own else {})
    chosen = {}
    for name, section in sections.items():
        taken = {key: values.pop(key) for key in list(values) if key in section.model_fields}
        chosen[name] = section(**taken)
    vmr.training.run.train_run(method=method, seed=seed, **chosen, **values)


def answers_of(folder: Path, **values) -> list[dict]:
    """Answers of a run's checkpoint to the test split or others, as they are written beside it."""
    output = folder / "p.jsonl"
    predict_run(checkpoint=folder / "checkpoint.safetensors", output=output, **{"splits": ["test"]} | values)
    return [json.loads(line) for line in output.read_text().splitlines()]


def evaluate_run(run: Path, data: SyntheticData, **labels: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Scores of a run on the test split, and its candidates; what it answered and the scores are written beside it."""
    inputs = {"predictions": run / "predictions_test.jsonl", "splits": ["test"]}
    checkpoint, output = run / "checkpoint.safetensors", run / "metrics_test.json"
    candidates = predict_run(checkpoint=checkpoint, **data.inputs(), splits=["test"], output=inputs["predictions"])
    evaluate_predictions(
        **inputs, split_name="test", moments=data.moments, manifests=[], candidates=candidates, labels=labels,
        output=output, video_scores=run / "video_scores_test.csv", run=run / "run.json",
    )  # fmt: skip
    return json.loads(output.read_text()), candidates


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def killed_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, run) -> None:
    """Run until a function of the loop is called for the so-manieth time."""
    original, calls = getattr(loop, name), []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(loop, name, killed)
        with pytest.raises(KeyboardInterrupt):
            run()
