"""The stage train: one method, one seed, from features and queries to a checkpoint and the record of the run."""

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

from vmr.annotations.moments import validation_videos
from vmr.annotations.units import odd_times, wrong_unit
from vmr.config.sections import ModelSettings, TrainingSettings
from vmr.data.blind import others_there
from vmr.data.collate import Collator
from vmr.data.dataset import DatasetFiles
from vmr.data.samples import Samples, build_samples
from vmr.data.video_steps import VideoSteps, load_videos
from vmr.errors import TrainingError
from vmr.features.store import FeatureStore
from vmr.machine.devices import claim_device, describe, repeatable
from vmr.machine.precision import resolve_precision
from vmr.methods.build import build_network, network_sizes
from vmr.methods.catalogue import MethodName, method_digest, method_named
from vmr.methods.entry import MethodSettings
from vmr.pipeline.stages import CONFIG
from vmr.queries.store import UNKNOWN, QueryStore
from vmr.storage.code_digest import code_digest
from vmr.storage.files import sha256_file, sha256_json, write_json, write_text, writing
from vmr.storage.provenance import library_versions
from vmr.training.checkpoint import feature_kind, save_checkpoint
from vmr.training.loop import CRITERION, HISTORY_FILE, STATE_FILE, LoopSettings, Progress, fit

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.safetensors"
RUN_FILE = "run.json"


def train_run(
    *,
    files: DatasetFiles,
    output_dir: Path,
    method: MethodName,
    seed: int,
    model: ModelSettings,
    training: TrainingSettings,
    own: MethodSettings | None = None,
    train_split: str = "train",
    test_splits: Sequence[str] = (),
    accept_wrong: bool = False,
) -> None:
    """Train one method with one seed and write checkpoint, history, TensorBoard and `run.json`.

    Training videos without features are left out and counted. Where no training video has features, the run is
    not trained: its checkpoint has the initial weights, and `run.json` says so.

    Args:
        model: sizes of the network; those that it does not take change nothing.
        training: how to train. With ``selection="test"`` nothing is held out, and the record says so.
        own: settings that only this method has; None for its defaults.
        test_splits: the splits that choose the epoch with ``selection="test"``.
        accept_wrong: go on where the training moments are in another unit than seconds.

    Raises:
        TrainingError: most training moments begin after their videos end, as frame numbers do; no video at all has
            features; the split has no queries, nor have the test splits that are to choose the epoch; or the loss or
            its gradient is not a number.
        ConfigError: there is no such method or device.
        ShardError: the disk is full or the folder cannot be written.
    """
    entry = method_named(method)
    own = own or entry.settings()
    selection = training.selection
    begin = time.time()
    with writing(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
    where = claim_device(training.device)
    table, durations = files.clamped_moments()
    train_rows = table[table["split"] == train_split]
    if train_rows.empty:
        raise TrainingError(f"{files.moments}: no queries in the split {train_split}. Look at the annotations.")
    if (past := wrong_unit(train_rows, durations, what="training moments")) and not accept_wrong:
        raise TrainingError(f"{files.moments}: {past}. Correct the times; --accept-wrong goes on all the same.")
    test_rows = table[table["split"].isin(list(test_splits))] if selection == "test" else table.iloc[:0]
    if selection == "test" and test_rows.empty:
        raise TrainingError(
            f"{files.moments}: selection is `test`, but there are no queries in the test splits "
            f"({', '.join(test_splits) or 'none is named'}); there are {', '.join(sorted(set(table['split'])))}. "
            "Name the splits with --test-splits, or choose the epoch by `selection: validation`."
        )
    store_of_queries = QueryStore(files.queries)
    with FeatureStore(files.features) as store:
        if not store.video_ids:
            raise TrainingError(
                f"{files.features}: no video has features, so that there is nothing to train or predict on."
            )
        kind = feature_kind(store.provenance, dim=store.dim)
        numbers = resolve_precision(training.precision, where, width=model.hidden)
        feature_provenance = store.provenance
        videos = load_videos(
            store,
            [*train_rows["video_id"], *test_rows["video_id"]],
            max_steps=model.max_steps,
            dtype=torch.float16 if numbers == "bfloat16" else torch.float32,
            device=where,
            scratch=output_dir,
        )
    train, chooser, choice = _split_samples(
        train_rows, test_rows, videos, store_of_queries, selection=selection, fraction=training.validation_fraction
    )
    if not len(train) and train.dropped:
        choice = odd_times(train_rows, durations, what="training moments") or choice
    exchanged = entry.exchanged
    trained = len(train) > 0
    if trained and exchanged is not None and not others_there(train, exchanged):
        trained, chooser = False, None
        choice = f"{method} needs another {exchanged} for each one, and there is a single one to train on with features"
    inputs = {
        "video_dim": kind["dim"],
        "word_dim": store_of_queries.dim,
        "vocabulary": len(store_of_queries.vocabulary),
    }
    sizes = network_sizes(method, {**inputs, **model.model_dump(), **own.model_dump()})
    sizes["max_steps"] = model.max_steps  # of the data too
    loop = LoopSettings(
        seed=seed,
        **training.model_dump(include={"epochs", "patience", "batch_size", "gradient_clip"}),
        learning_rate=own.learning_rate or training.learning_rate,
        precision=numbers,
        exchanged=exchanged,
        supervision=entry.supervision,
        negatives=entry.negatives,
        stages=entry.stages,
    )
    settings = {
        **sizes, **_told(loop), "selection": selection, "validation_fraction": training.validation_fraction,
        "train_split": train_split, "test_splits": list(test_splits),
    }  # fmt: skip
    # Sums in another number of threads differ in their last bits. Of the annotations what counts is the table after
    # the durations, which manifests may tell, have clamped it.
    threads = torch.get_num_threads() if where.type == "cpu" else None
    labels = hashlib.sha256(table.to_csv(index=False).encode("utf-8", "surrogateescape")).hexdigest()
    code = [torch.__version__, code_digest(["vmr.training.run"], without=CONFIG), method_digest(method)]
    fingerprint = sha256_json([settings, where.type, threads, *code, videos.digest, labels, sha256_file(files.queries)])
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), repeatable(where):
        torch.manual_seed(seed)
        network = build_network(**sizes).to(where)
        network.fit_features(videos.steps_of(video) for video in np.unique(train.video))
        if trained:
            collator = Collator(
                videos, store_of_queries.vectors, word_numbers=store_of_queries.word_numbers, device=where
            )
            progress = fit(network, collator, train, chooser, settings=loop, folder=output_dir, fingerprint=fingerprint)
        else:
            log.warning("NOT TRAINED: %s. The checkpoint has the initial weights; its scores are chance.", choice)
            progress = Progress()
            with writing(output_dir):
                write_text(output_dir / HISTORY_FILE, "epoch\n")
    record = {
        "method": method, "seed": seed, "alignment": sizes.get("alignment"),
        "selection": selection, "settings": settings,
        "feature_kind": kind, "features": feature_provenance, "queries": store_of_queries.provenance,
        "fingerprint": fingerprint,
        "trained": trained, "chosen_epoch": progress.best_epoch,
    }  # fmt: skip
    vocabulary = _words_of(train, store_of_queries) if trained else []
    save_checkpoint(output_dir / CHECKPOINT_FILE, network, sizes=sizes, info={**record, "vocabulary": vocabulary})
    best = f"highest {CRITERION} ({progress.best_score:.2f})"
    if loop.chosen_by != CRITERION:
        best = f"lowest {loop.chosen_by} ({-progress.best_score:.4f})"
    reason = f"{best} {choice}" if chooser is not None else choice
    if chooser is not None and loop.chosen_by != CRITERION and progress.history:
        other = max(progress.history[progress.stage_began :], key=lambda row: float(row[CRITERION]))
        record["by_spans"] = {"epoch": other["epoch"], CRITERION: other[CRITERION]}
        log.info("by %s epoch %d would have been chosen (%.2f)", CRITERION, other["epoch"], other[CRITERION])
    about: dict[str, Any] = record | {
        "reason": reason,
        "epochs_run": progress.epoch,
        "chosen_scores": next((row for row in progress.history if row["epoch"] == progress.best_epoch), {}),
        "counts": _counts(train_rows, train, chooser),
        "coverage": _coverage(train_rows, videos),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "device": describe(where),
        "precision": numbers,
        "threads": torch.get_num_threads(),
        "seconds": time.time() - begin,
        "versions": library_versions(["torch", "numpy", "pandas", "h5py", "safetensors", "vmr"]),
    }
    with writing(output_dir / RUN_FILE):
        write_json(output_dir / RUN_FILE, about)
    (output_dir / STATE_FILE).unlink(missing_ok=True)
    log.info("%s: epoch %d chosen, %s", output_dir, progress.best_epoch, reason)


def _told(loop: LoopSettings) -> dict[str, Any]:
    """The loop's settings less those that a method of one stage that learns from spans has not."""
    settings, usual = asdict(loop), asdict(LoopSettings(seed=0))
    return {
        name: value
        for name, value in settings.items()
        if name not in ("supervision", "negatives", "stages") or value != usual[name]
    }


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
    return sorted({queries.words[index] for index in met if index != UNKNOWN})


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
