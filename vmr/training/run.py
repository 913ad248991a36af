"""The stage train: one method, one seed, from features and queries to a checkpoint and the record of the run."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vmr.annotations.moments import clamp_spans, read_moments, validation_videos, video_durations
from vmr.data.blind import others_there
from vmr.data.collate import Collator
from vmr.data.samples import Samples, build_samples
from vmr.data.video_steps import VideoSteps, load_videos
from vmr.errors import ConfigError, TrainingError
from vmr.features.store import FeatureStore
from vmr.machine.devices import claim_device, describe, repeatable
from vmr.machine.precision import resolve_precision
from vmr.methods.build import METHODS, build_network, exchanged_input, uses_alignment
from vmr.model.fusion import ALIGNMENTS
from vmr.names import Alignment, MethodName
from vmr.pipeline.digest import code_digest
from vmr.queries.store import UNKNOWN, QueryStore
from vmr.storage.files import atomic_path, sha256_file, sha256_json, write_json, writing
from vmr.storage.provenance import library_versions
from vmr.training.checkpoint import feature_kind, save_checkpoint
from vmr.training.loop import CRITERION, HISTORY_FILE, LoopSettings, Progress, clear_state, fit
from vmr.video.manifest import read_manifest

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
RUN_FILE = "run.json"


def train_run(
    *,
    moments: Path,
    features: Path,
    queries: Path,
    manifests: Sequence[Path],
    output_dir: Path,
    method: MethodName = "ci_mha",
    seed: int = 0,
    train_split: str = "train",
    test_splits: Sequence[str] = (),
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
    selection: str = "validation",
    validation_fraction: float = 0.1,
    precision: str = "auto",
    device: str = "auto",
) -> None:
    """Train one method with one seed and write checkpoint, history, TensorBoard and `run.json`.

    Training videos without features are left out and counted. Where no training video has features, the run is
    not trained: its checkpoint has the initial weights, and `run.json` says so.

    Args:
        moments: the table of moments.
        features: the feature store.
        queries: the query store.
        manifests: video manifests, for durations that the annotations do not give; may be empty.
        output_dir: folder of the run.
        method: one of `vmr.methods.build.METHODS`.
        seed: of initial weights, dropout and order of samples.
        train_split: the split to train on.
        test_splits: the splits that choose the epoch with ``selection="test"``.
        hidden: width of the fused modalities.
        query_hidden: length of the query LSTM's states, each direction.
        heads: heads of every attention.
        dropout: after attentions, in feed-forward layers and perceptrons.
        lstm_dropout: after LSTMs.
        alignment: reading of Eqs. 7 to 9.
        max_steps: longer videos are averaged to so many steps.
        segmentation_weight: weight of the segmentation loss.
        learning_rate: of Adam.
        batch_size: queries a step.
        epochs: at most so many.
        patience: stop after so many epochs in which neither validation mIoU nor validation loss got better.
        gradient_clip: largest norm of the gradient.
        selection: ``validation`` (videos held out of the training split choose the epoch) or ``test`` (labelled
            as such: only to compare with papers that did so; nothing is held out then).
        validation_fraction: share of the training videos that is held out.
        precision: auto, float32 or bfloat16.
        device: auto, cpu or cuda.

    Raises:
        TrainingError: no video at all has features, the split has no queries, nor have the test splits that are
            to choose the epoch, or the loss or its gradient is not a number.
        ConfigError: a setting is not one of its choices.
        ShardError: the disk is full or the folder cannot be written.
    """
    _check_choice("method", method, METHODS)
    _check_choice("alignment", alignment, ALIGNMENTS)
    _check_choice("selection", selection, ("validation", "test"))
    begin = time.time()
    with writing(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
    where = claim_device(device)
    table = _clamped_moments(moments, manifests)
    train_rows = table[table["split"] == train_split]
    if train_rows.empty:
        raise TrainingError(f"{moments}: no queries in the split {train_split}. Look at the annotations.")
    test_rows = table[table["split"].isin(list(test_splits))] if selection == "test" else table.iloc[:0]
    if selection == "test" and test_rows.empty:
        raise TrainingError(
            f"{moments}: selection is `test`, but there are no queries in the test splits "
            f"({', '.join(test_splits) or 'none is named'}); there are {', '.join(sorted(set(table['split'])))}. "
            "Name the splits with --test-splits, or choose the epoch by `selection: validation`."
        )
    store_of_queries = QueryStore(queries)
    with FeatureStore(features) as store:
        if not store.video_ids:
            raise TrainingError(f"{features}: no video has features, so that there is nothing to train or predict on.")
        kind = feature_kind(store.provenance, dim=store.dim)
        numbers = resolve_precision(precision, where, width=hidden)
        feature_provenance = store.provenance
        videos = load_videos(
            store,
            [*train_rows["video_id"], *test_rows["video_id"]],
            max_steps=max_steps,
            dtype=torch.float16 if numbers == "bfloat16" else torch.float32,
            device=where,
            scratch=output_dir,
        )
    train, chooser, choice = _split_samples(
        train_rows, test_rows, videos, store_of_queries, selection=selection, fraction=validation_fraction
    )
    exchanged = exchanged_input(method)
    trained = len(train) > 0
    if trained and exchanged is not None and not others_there(train, exchanged):
        trained, chooser = False, None
        choice = f"{method} needs another {exchanged} for each one, and there is a single one to train on with features"
    sizes: dict[str, Any] = {
        "method": method, "video_dim": kind["dim"], "word_dim": store_of_queries.dim, "max_steps": max_steps,
        "hidden": hidden, "query_hidden": query_hidden, "heads": heads, "dropout": dropout,
        "lstm_dropout": lstm_dropout, "alignment": alignment, "segmentation_weight": segmentation_weight,
    }  # fmt: skip
    loop = LoopSettings(
        seed=seed,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        gradient_clip=gradient_clip,
        precision=numbers,
        exchanged=exchanged,
    )
    settings = {
        **sizes, **asdict(loop), "selection": selection, "validation_fraction": validation_fraction,
        "train_split": train_split, "test_splits": list(test_splits),
    }  # fmt: skip
    # Sums in another number of threads differ in their last bits. Of the annotations what counts is the table after
    # the durations, which manifests may tell, have clamped it.
    threads = torch.get_num_threads() if where.type == "cpu" else None
    labels = hashlib.sha256(table.to_csv(index=False).encode("utf-8", "surrogateescape")).hexdigest()
    code = [torch.__version__, code_digest(["vmr.training.run"])]
    fingerprint = sha256_json([settings, where.type, threads, *code, videos.digest, labels, sha256_file(queries)])
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), repeatable(where):
        torch.manual_seed(seed)
        model = build_network(**sizes).to(where)
        model.fit_features(videos.steps_of(video) for video in np.unique(train.video))
        if trained:
            collator = Collator(videos, store_of_queries.vectors, device=where)
            progress = fit(model, collator, train, chooser, settings=loop, folder=output_dir, fingerprint=fingerprint)
        else:
            log.warning("NOT TRAINED: %s. The checkpoint has the initial weights; its scores are chance.", choice)
            progress = Progress()
            _write_empty_history(output_dir)
    record = {
        "method": method, "seed": seed, "alignment": alignment if uses_alignment(method) else None,
        "selection": selection, "settings": settings,
        "feature_kind": kind, "features": feature_provenance, "queries": store_of_queries.provenance,
        "fingerprint": fingerprint,
        "trained": trained, "chosen_epoch": progress.best_epoch,
    }  # fmt: skip
    vocabulary = _words_of(train, store_of_queries) if trained else []
    save_checkpoint(output_dir / CHECKPOINT_FILE, model, sizes=sizes, info={**record, "vocabulary": vocabulary})
    reason = f"highest {CRITERION} ({progress.best_score:.2f}) {choice}" if chooser is not None else choice
    about: dict[str, Any] = record | {
        "reason": reason,
        "epochs_run": progress.epoch,
        "chosen_scores": next((row for row in progress.history if row["epoch"] == progress.best_epoch), {}),
        "counts": _counts(train_rows, train, chooser),
        "coverage": _coverage(train_rows, videos),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": describe(where),
        "precision": numbers,
        "threads": torch.get_num_threads(),
        "seconds": time.time() - begin,
        "versions": library_versions(["torch", "numpy", "pandas", "h5py", "safetensors", "vmr"]),
    }
    with writing(output_dir / RUN_FILE):
        write_json(output_dir / RUN_FILE, about)
    clear_state(output_dir)
    log.info("%s: epoch %d chosen, %s", output_dir, progress.best_epoch, reason)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}")


def _clamped_moments(moments: Path, manifests: Sequence[Path]) -> pd.DataFrame:
    table = read_moments(moments)
    manifest = read_manifest(list(manifests)) if manifests else None
    return clamp_spans(table, video_durations(table, manifest))


def _split_samples(
    train_rows: pd.DataFrame,
    test_rows: pd.DataFrame,
    videos: VideoSteps,
    queries: QueryStore,
    *,
    selection: str,
    fraction: float,
) -> tuple[Samples, Samples | None, str]:
    """Samples to train on, samples that choose the epoch (None: the last is taken), and why in words."""
    everything = build_samples(train_rows, videos, queries, drop_empty=True)
    usable = set(everything.video_ids)
    if not usable:
        return everything, None, f"no video of the {train_rows['video_id'].nunique()} to train on has features"
    if selection == "test":
        chooser = build_samples(test_rows, videos, queries, drop_empty=True)
        if len(chooser):
            return everything, chooser, "on the TEST set, as asked for by `selection: test`"
        return everything, None, "the last epoch, since no test video has features"
    held_out = validation_videos(train_rows["video_id"], fraction=fraction) & usable
    if not held_out or held_out == usable:
        # Few videos are there: the fixed choice among all of them leaves one side empty.
        held_out = validation_videos(usable, fraction=fraction)
    if not held_out:
        return everything, None, "the last epoch, since a single training video leaves none for validation"
    is_held_out = train_rows["video_id"].isin(held_out)
    train = build_samples(train_rows[~is_held_out], videos, queries, drop_empty=True)
    chooser = build_samples(train_rows[is_held_out], videos, queries, drop_empty=True)
    return train, chooser, f"on {len(held_out)} validation videos held out of the training split"


def _words_of(samples: Samples, queries: QueryStore) -> list[str]:
    """The words that a network has met in training, in alphabetical order; the unknown word is none."""
    rows = torch.arange(samples.tokens.shape[1]) < samples.word_counts[:, None]
    met = np.unique(samples.tokens[rows].numpy()).tolist()
    return sorted(queries.words[index] for index in met if index != UNKNOWN)


def _counts(train_rows: pd.DataFrame, train: Samples, chooser: Samples | None) -> dict[str, int]:
    return {
        "annotated_queries": len(train_rows),
        "annotated_videos": int(train_rows["video_id"].nunique()),
        "training_queries": len(train),
        "training_videos": len(set(train.video_ids)),
        "selection_queries": len(chooser) if chooser is not None else 0,
        "selection_videos": len(set(chooser.video_ids)) if chooser is not None else 0,
        "dropped_empty_moments": len(train.dropped) + (len(chooser.dropped) if chooser is not None else 0),
    }


def _coverage(train_rows: pd.DataFrame, videos: VideoSteps) -> dict[str, int]:
    there = train_rows["video_id"].isin(videos.index)
    return {
        "queries": len(train_rows),
        "covered_queries": int(there.sum()),
        "videos": int(train_rows["video_id"].nunique()),
        "covered_videos": int(train_rows["video_id"][there].nunique()),
    }


def _write_empty_history(folder: Path) -> None:
    with writing(folder), atomic_path(folder / HISTORY_FILE) as temporary:
        temporary.write_text("epoch\n", encoding="utf-8")
