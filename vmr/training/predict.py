"""The prediction half of the stage evaluate: a checkpoint's ranked spans for the queries of some splits."""

import json
import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from vmr.config.sections import EvaluationSettings
from vmr.data.blind import exchange_by_split
from vmr.data.collate import Collator
from vmr.data.dataset import DatasetFiles
from vmr.data.samples import Samples, build_samples
from vmr.data.video_steps import load_videos
from vmr.errors import EvaluationError
from vmr.features.store import FeatureStore
from vmr.machine.devices import choose_device
from vmr.machine.precision import resolve_precision
from vmr.methods.catalogue import METHODS
from vmr.model.decode import seconds_of
from vmr.model.network import MomentNetwork
from vmr.names import Device
from vmr.queries.store import QueryStore
from vmr.storage.files import write_text
from vmr.training.checkpoint import check_features, check_queries, load_checkpoint
from vmr.training.inference import ranked_spans

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenRun:
    """A checkpoint that is ready to answer."""

    model: MomentNetwork[Any]  # its network
    collator: Collator  # makes batches of the samples
    samples: Samples  # queries whose videos have features
    rows: list[int]  # numbers of the samples that were asked for
    hidden: int  # width of the network


def predict_run(
    *,
    checkpoint: Path,
    files: DatasetFiles,
    splits: Sequence[str],
    output: Path,
    evaluation: EvaluationSettings,
    device: Device,
) -> dict[str, Float[np.ndarray, "M 2"]]:
    """Write ranked spans of every query whose video has features, one JSON object a line.

    A blind method sees a query or a video of another query of the split, the same one every time; of one to train on
    where there is no other. Queries for which there is none at all get no answer.

    Args:
        output: the file to write; its lines are in the order of the table of moments.

    Returns:
        See `candidate_spans`.

    Raises:
        CheckpointError: the checkpoint is damaged, or was trained on other features or word vectors.
        EvaluationError: the splits have no queries.
    """
    run = open_run(
        checkpoint=checkpoint,
        files=files,
        splits=splits,
        device=device,
        scratch=output.parent,
    )
    samples = run.samples
    lines = [""] * len(samples)
    batches = ranked_spans(
        run.model,
        run.collator,
        samples,
        batch_size=evaluation.batch_size,
        top=evaluation.top,
        nms_threshold=evaluation.nms_threshold,
        precision=resolve_precision(evaluation.precision, run.collator.device, width=run.hidden),
    )
    with tqdm(total=len(samples), desc="predict", unit="query", disable=None) as bar:
        for rows, spans in batches:
            answers = zip(
                rows.tolist(), spans.span_sec.tolist(), spans.score.tolist(), spans.valid_mask.tolist(), strict=True
            )
            for row, seconds, scores, valid in answers:
                ranked = [[*span, score] for span, score, real in zip(seconds, scores, valid, strict=True) if real]
                if not ranked or not all(math.isfinite(number) for span in ranked for number in span):
                    raise EvaluationError(
                        f"{checkpoint}: its answer to {samples.query_ids[row]} (video {samples.video_ids[row]}) is no "
                        f"number. Look at the features of that video in {files.features}, or train again."
                    )
                answer = {"query_id": samples.query_ids[row], "video_id": samples.video_ids[row]}
                lines[row] = json.dumps(answer | {"split": samples.splits[row], "spans": ranked}, ensure_ascii=False)
            bar.update(len(rows))
    write_text(output, "".join(line + "\n" for line in lines))
    return candidate_spans(run)


@torch.inference_mode()
def candidate_spans(run: OpenRun) -> dict[str, Float[np.ndarray, "M 2"]]:
    """Spans in seconds that the network chooses among, by video id; nothing where its spans are free."""
    found = {}
    for video_id, video in dict(zip(run.samples.video_ids, run.samples.video.tolist(), strict=True)).items():
        count = run.collator.videos.counts[video : video + 1].to(run.collator.device)
        offered = run.model.candidates(count, int(count))
        if offered is None:
            return {}
        share, valid = offered
        start_sec, end_sec = (torch.from_numpy(own).to(share)[None] for own in run.collator.videos.times(video))
        spans = seconds_of(share, count, start_sec, end_sec)[valid]
        found[video_id] = spans.cpu().numpy().astype(np.float64)
    return found


def open_run(
    *,
    checkpoint: Path,
    files: DatasetFiles,
    splits: Sequence[str],
    device: Device,
    scratch: Path,
    query_ids: Collection[str] | None = None,
) -> OpenRun:
    """Load a checkpoint and what it answers about.

    Args:
        scratch: folder for features that do not fit into memory.
        query_ids: only these queries; a blind method gets for them what it gets among all queries of the splits.

    Raises:
        CheckpointError: the checkpoint is damaged, or was trained on other features or word vectors.
        EvaluationError: the splits have no queries.
    """
    where = choose_device(device)
    model, info = load_checkpoint(checkpoint, device=where)
    exchanged = METHODS[info["sizes"]["method"]].exchanged
    table, _ = files.clamped_moments()
    training = table[table["split"] == info["settings"]["train_split"]]
    table = table[table["split"].isin(list(splits))]
    if table.empty:
        raise EvaluationError(
            f"{files.moments}: no queries in the splits {', '.join(splits)}. Look at the annotations."
        )
    if query_ids is not None and exchanged is None:
        table = table[table["query_id"].isin(list(query_ids))]
    store_of_queries = QueryStore(files.queries)
    check_queries(checkpoint, info, store_of_queries.provenance)
    with FeatureStore(files.features) as store:
        check_features(checkpoint, info, store.provenance, dim=store.dim)
        # Training videos are read only where there is nothing else to exchange for.
        alone = exchanged is not None and any(
            sum(name in store for name in names.unique()) < 2 for _, names in table.groupby("split")["video_id"]
        )
        videos = load_videos(
            store,
            [*table["video_id"], *(training["video_id"] if alone else [])],
            max_steps=info["sizes"]["max_steps"],
            device=where,
            scratch=scratch,
        )
    samples = build_samples(table, videos, store_of_queries, drop_empty=False)
    log.info("%d of %d queries have features", len(samples), len(table))
    if exchanged is not None and len(samples):
        besides = build_samples(training, videos, store_of_queries, drop_empty=True) if alone else None
        answered = exchange_by_split(samples, exchanged, besides=besides)
        if len(answered) < len(samples):
            named = ", ".join(sorted(set(samples.splits) - set(answered.splits)))
            log.warning(
                "NOT ANSWERED (%s): %s needs another %s, and only one has features", named, info["method"], exchanged
            )
        samples = answered
    wanted = None if query_ids is None else set(query_ids)
    rows = [row for row, name in enumerate(samples.query_ids) if wanted is None or name in wanted]
    collator = Collator(videos, store_of_queries.vectors, word_numbers=store_of_queries.word_numbers, device=where)
    return OpenRun(model, collator, samples, rows, hidden=info["sizes"]["hidden"])
