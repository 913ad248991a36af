"""Commands from sentences and features to trained networks and their predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vmr.cli.groups import Features, Manifests, Moments, Output, Queries, app
from vmr.config.sections import EvaluationSettings, ModelSettings, QuerySettings, TrainingSettings
from vmr.names import Alignment, Device, MethodName, Precision, Selection

# Not inside the commands: the digest of a stage's code counts, of what a module imports at its top, only what is used.
from vmr.settings.checks import validated
from vmr.settings.options import Fields, options_from_sections


@app.command()
@options_from_sections
def embed_queries(
    *,
    moments: Moments,
    settings: Annotated[QuerySettings, Fields(paths={"vectors": "GloVe text file."})],
    output: Output,
    report: Annotated[Path, typer.Option(help="JSON of counts.")],
) -> None:
    """Tokenize the sentences and look their words up."""
    from vmr.queries.embed import embed_queries

    embed_queries(
        moments=moments,
        vectors=Path(settings.vectors),
        output=output,
        report=report,
        max_words=settings.max_words,
    )


@app.command()
def train(
    *,
    moments: Moments,
    features: Features,
    queries: Queries,
    manifests: Manifests = [],  # noqa: B006
    output_dir: Annotated[Path, typer.Option(help="Folder of the run.")],
    method: MethodName = "ci_mha",
    seed: int = 0,
    hidden: int = 512,
    query_hidden: int = 256,
    heads: int = 8,
    dropout: float = 0.2,
    lstm_dropout: float = 0.5,
    alignment: Alignment = "attention",
    max_steps: int = 128,
    segmentation_weight: float = 1.0,
    learning_rate: float = 1e-4,
    batch_size: int = 100,
    epochs: int = 100,
    patience: int = 20,
    gradient_clip: float = 1.0,
    selection: Selection = "validation",
    validation_fraction: float = 0.1,
    train_split: str = "train",
    test_splits: Annotated[list[str], typer.Option(help="Splits for `--selection test`.")] = [],  # noqa: B006
    precision: Precision = "auto",
    device: Device = "auto",
    threads: int = 1,
) -> None:
    """Train one method with one seed."""
    model: dict[str, Any] = {
        "hidden": hidden, "query_hidden": query_hidden, "heads": heads, "dropout": dropout,
        "lstm_dropout": lstm_dropout, "alignment": alignment, "max_steps": max_steps,
        "segmentation_weight": segmentation_weight,
    }  # fmt: skip
    training: dict[str, Any] = {
        "learning_rate": learning_rate, "batch_size": batch_size, "epochs": epochs, "patience": patience,
        "gradient_clip": gradient_clip, "selection": selection, "validation_fraction": validation_fraction,
        "precision": precision, "device": device,
    }  # fmt: skip
    validated(ModelSettings, model, "vmr train")
    validated(TrainingSettings, {**training, "seeds": [seed], "threads": threads}, "vmr train")

    import torch

    from vmr.training.run import train_run

    torch.set_num_threads(threads)
    train_run(
        moments=moments,
        features=features,
        queries=queries,
        manifests=manifests,
        output_dir=output_dir,
        method=method,
        seed=seed,
        train_split=train_split,
        test_splits=test_splits,
        **model,
        **training,
    )


@app.command()
def evaluate_run(
    *,
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    moments: Moments,
    features: Features,
    queries: Queries,
    manifests: Manifests = [],  # noqa: B006
    splits: Annotated[list[str], typer.Option(help="Splits to unite.")],
    split_name: Annotated[str, typer.Option(help="Name of the union in tables.")],
    top: int = 5,
    nms_threshold: float = 0.5,
    batch_size: int = 200,
    precision: Precision = "float32",
    device: Device = "auto",
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")],
    features_label: Annotated[str, typer.Option(help="Name of the features in tables.")],
    predictions: Annotated[Path, typer.Option(help="Predictions to write (JSON lines).")],
    video_scores: Annotated[Path, typer.Option(help="CSV of sums by video to write, for the table.")],
    output: Output,
) -> None:
    """Predict with a trained run of ours and score the predictions."""
    settings: dict[str, Any] = {
        "top": top, "nms_threshold": nms_threshold, "batch_size": batch_size, "precision": precision,
    }  # fmt: skip
    validated(EvaluationSettings, settings, "vmr evaluate-run")

    from vmr.evaluation.evaluate import evaluate_predictions
    from vmr.training.predict import predict_run

    predict_run(
        checkpoint=run / "checkpoint.safetensors",
        moments=moments,
        features=features,
        queries=queries,
        manifests=manifests,
        splits=splits,
        output=predictions,
        device=device,
        **settings,
    )
    evaluate_predictions(
        predictions=predictions,
        moments=moments,
        manifests=manifests,
        splits=splits,
        split_name=split_name,
        output=output,
        video_scores=video_scores,
        run=run / "run.json",
        labels={"dataset": dataset, "features": features_label},
    )
