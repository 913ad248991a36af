"""Commands from sentences and features to trained networks and their predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmr.cli.groups import (
    STAGES,
    DatasetName,
    FeaturesLabel,
    Manifests,
    Moments,
    Output,
    Predictions,
    SplitName,
    Splits,
    VideoScores,
    app,
    command_from_sections,
)
from vmr.errors import ConfigError
from vmr.names import Device
from vmr.settings.assignments import assignments

if TYPE_CHECKING:
    from vmr.cli.sections import (
        DatasetFiles,
        EvaluationSettings,
        Fields,
        ModelSettings,
        QuerySettings,
        TrainingSettings,
    )
    from vmr.methods.entry import MethodSettings


@command_from_sections(app, rich_help_panel=STAGES)
def embed_queries(
    *,
    moments: Moments,
    settings: Annotated[QuerySettings, Fields(paths={"vectors": "GloVe text file, or the prepared minilm_l6_v2."})],
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


def _method(name: str) -> str:
    from vmr.methods.catalogue import method_named

    try:
        return method_named(name).name
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


def own_settings(method: str, entries: list[str]) -> MethodSettings:
    """A method's own settings, of the option `--set`: values are JSON, or text that is none.

    Raises:
        ConfigError: an entry is no setting of the method, or has no value that it may have.
    """
    from vmr.methods.catalogue import method_named
    from vmr.settings.checks import validated

    values = {name: _value(text) for name, text in assignments(entries, "--set").items()}
    return validated(method_named(method).settings, values, "vmr train --set")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@command_from_sections(app, rich_help_panel=STAGES)
def train(
    *,
    files: DatasetFiles,
    output_dir: Annotated[Path, typer.Option(help="Folder of the run.")],
    method: Annotated[str, typer.Option(help="Its name in the catalogue.", callback=_method)] = "ci_mha",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    model: ModelSettings,
    training: Annotated[TrainingSettings, Fields(without=("methods", "seeds"))],
    own: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE: a setting of the method's own section; lists as in JSON.")
    ] = [],  # noqa: B006
    train_split: str = "train",
    test_splits: Annotated[list[str], typer.Option(help="Splits for `--selection test`.")] = [],  # noqa: B006
    accept_wrong: Annotated[bool, typer.Option(help="Train where most moments begin after their videos end.")] = False,
) -> None:
    """Train one method with one seed."""
    settings = own_settings(method, own)

    import torch

    from vmr.training.run import train_run

    torch.set_num_threads(training.threads)
    train_run(
        files=files,
        output_dir=output_dir,
        method=method,
        seed=seed,
        model=model,
        training=training,
        own=settings,
        train_split=train_split,
        test_splits=test_splits,
        accept_wrong=accept_wrong,
    )


@app.command(rich_help_panel=STAGES)
def zero_shot(
    *,
    moments: Moments,
    features: Annotated[Path, typer.Option(help="Merged I3D features.")],
    weights: Annotated[Path, typer.Option(help="The weights that they were made with, and their classifier.")],
    encoder: Annotated[Path, typer.Option(help="Encoder of sentences (the asset minilm_l6_v2).")],
    manifests: Manifests,
    splits: Splits,
    split_name: SplitName,
    top: Annotated[int, typer.Option(help="Spans kept for a query.", min=5)] = 5,
    dataset: DatasetName,
    features_label: FeaturesLabel,
    predictions: Predictions,
    video_scores: VideoScores,
    output: Output,
) -> None:
    """Answer by the actions of Kinetics, without training, and score the answers."""
    from vmr.evaluation.evaluate import evaluate_predictions
    from vmr.methods.catalogue import ZERO_SHOT
    from vmr.zero_shot.predict import predict_actions

    predict_actions(
        moments=moments,
        features=features,
        weights=weights,
        encoder=encoder,
        splits=splits,
        output=predictions,
        top=top,
    )
    evaluate_predictions(
        predictions=predictions,
        moments=moments,
        manifests=manifests,
        splits=splits,
        split_name=split_name,
        output=output,
        video_scores=video_scores,
        labels={"dataset": dataset, "features": features_label, "method": ZERO_SHOT.name, "seed": 0},
    )


@command_from_sections(app, rich_help_panel=STAGES)
def evaluate_run(
    *,
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    files: DatasetFiles,
    splits: Splits,
    split_name: SplitName,
    evaluation: EvaluationSettings,
    device: Device = "auto",
    dataset: DatasetName,
    features_label: FeaturesLabel,
    predictions: Predictions,
    video_scores: VideoScores,
    output: Output,
) -> None:
    """Predict with a trained run of ours and score the predictions."""
    from vmr.evaluation.evaluate import evaluate_predictions
    from vmr.training.predict import predict_run

    candidates = predict_run(
        checkpoint=run / "checkpoint.safetensors",
        files=files,
        splits=splits,
        output=predictions,
        evaluation=evaluation,
        device=device,
    )
    evaluate_predictions(
        predictions=predictions,
        moments=files.moments,
        manifests=files.manifests,
        splits=splits,
        split_name=split_name,
        output=output,
        video_scores=video_scores,
        run=run / "run.json",
        labels={"dataset": dataset, "features": features_label},
        candidates=candidates,
    )
