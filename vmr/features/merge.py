"""The stage `merge_features`: shards of a dataset as one file, by links; or projected by a PCA."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float32
from tqdm import tqdm

from vmr.annotations.moments import read_moments
from vmr.config.feature_sections import ReductionSettings
from vmr.errors import FeatureError
from vmr.features.pca import Pca, PcaFitter, read_pca
from vmr.features.store import COVERAGE_COLUMNS, END, FEATURES, GROUPS, START, FeatureStore
from vmr.storage.checksums import seal_file
from vmr.storage.files import atomic_path, sha256_file, writing
from vmr.storage.hdf5 import new_hdf5
from vmr.storage.provenance import library_versions, only_machine, without_machine
from vmr.storage.records import read_table, write_table

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# The PCA is fitted on this many vectors at a time.
_PCA_BATCH = 4096
_UTF8_NAMES = h5py.h5p.create(h5py.h5p.LINK_CREATE)
_UTF8_NAMES.set_char_encoding(h5py.h5t.CSET_UTF8)


def merge_features(
    *,
    shards: list[Path],
    statuses: list[Path],
    output: Path,
    coverage: Path,
    moments: Path,
    reduction: ReductionSettings,
    train_split: str,
    code_digest: str,
) -> None:
    """Unite the shards of a dataset in one feature file.

    Without PCA nothing is copied: the file holds external links to the shards, relative to its own place. With PCA the
    projected features are written, and the PCA with them, in the group `pca`.

    Args:
        coverage: CSV to write, one row for every video that the annotations or a shard name.
        reduction: the PCA (one made elsewhere gives all of its components unless told) and where it projects.

    Raises:
        FeatureError: a shard is missing or was made otherwise, a video lies in two, a status file is wrong, or no video
            is there to fit the PCA on.
        DamageError: a shard was altered. Without PCA its features are not read, and are checked by who reads them.
        ShardError: the disk is full or a folder cannot be written.
    """
    absent = [str(path) for path in [*shards, *statuses] if not path.is_file()]
    if absent or not shards:
        raise FeatureError(
            f"{output}: {len(absent)} shards are missing: {', '.join(absent) or 'none is named'}. "
            "Run their extraction first."
        )
    provenance, machines = _common_provenance(shards)
    steps, owner = _videos_of(shards)
    table = read_moments(moments)
    rows = _coverage(statuses, table["video_id"].unique().tolist(), steps)
    training = sorted(set(table.loc[table["split"] == train_split, "video_id"]) & set(steps))
    pca: Pca | None = None
    origin: dict[str, Any] = {}
    pca_components = reduction.pca_components
    if reduction.pca is not None:
        pca_file = Path(reduction.pca)
        pca, training = read_pca(pca_file, components=pca_components), []
        origin = {"file": pca_file.name, "sha256": sha256_file(pca_file), "fitted_on": "elsewhere, see its file"}
    elif pca_components is not None:
        pca = _fit(owner, training, dim=int(provenance["dim"]), components=pca_components, train_split=train_split)
        origin = {
            "explained_share": pca.explained_share,
            "fitted_on": f"{len(training)} videos of the split {train_split} (dataset pca/video_ids)",
            "samples": pca.samples,
        }
    if pca is not None:
        provenance["pca"] = {"components": len(pca.components), "input_dim": provenance["dim"], **origin}
        provenance["dim"] = len(pca.components)
    provenance["merged"] = {
        "code_digest": code_digest,
        "shards": len(shards),
        "machines": machines,
        "versions": library_versions(["vmr", "numpy", "h5py", *(["torch"] if pca is not None else [])]),
    }
    # Before the features, whose presence then says that all is done.
    write_table(coverage, rows)
    with writing(output), atomic_path(output) as temporary, new_hdf5(temporary) as file:
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
        for group in GROUPS:
            file.create_group(group)
        if pca is None:
            _link(file, owner, folder=output.parent)
        else:
            from vmr.machine.devices import choose_device  # and torch, which links need not wait for

            _project(file, owner, pca, training, device=choose_device(reduction.device))
        seal_file(file)
    log.info("%s: %d videos with features; %s", output, len(steps), rows["status"].value_counts().to_dict())


def _common_provenance(shards: list[Path]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all shards tell, with the first one's machine; and each machine that made some, with how many it made."""
    first: dict[str, Any] = {}
    machines: list[dict[str, Any]] = []
    for path in shards:
        with FeatureStore(path) as store:
            provenance = store.provenance
        first = first or provenance
        ours, theirs = without_machine(first), without_machine(provenance)
        for key in sorted(set(ours) | set(theirs)):
            if ours.get(key) != theirs.get(key):
                raise FeatureError(
                    f"{path}: its features were made in another way than those of {shards[0]}: {key} is "
                    f"{theirs.get(key)!r}, there {ours.get(key)!r}. Extract the older one again with the present "
                    "settings."
                )
        told = only_machine(provenance)
        known = next((machine for machine in machines if machine["made"] == told), None)
        if known is None:
            machines.append({"made": told, "shards": 1})
        else:
            known["shards"] += 1
    if len(machines) > 1:
        log.info("the shards were made on %d different machines, or with different versions", len(machines))
    return first, machines


def _videos_of(shards: list[Path]) -> tuple[dict[str, int], dict[str, Path]]:
    steps: dict[str, int] = {}
    owner: dict[str, Path] = {}
    for path in shards:
        with FeatureStore(path) as store:
            store.check_contents()
            for video_id in store.video_ids:
                if video_id in owner:
                    raise FeatureError(
                        f"{video_id}: lies in {owner[video_id]} and in {path}; delete the one that is stale."
                    )
                owner[video_id] = path
                steps[video_id] = store.steps(video_id)
    return steps, owner


def _coverage(statuses: list[Path], video_ids: list[str], steps: dict[str, int]) -> pd.DataFrame:
    rows = pd.concat([_read_statuses(path) for path in statuses], ignore_index=True)
    lacking = (rows["status"] == "ok") & ~rows["video_id"].isin(steps)
    if lacking.any():
        names = ", ".join(rows.loc[lacking, "video_id"].head(5))
        raise FeatureError(
            f"{statuses[0].parent}: {int(lacking.sum())} videos are marked ok but have no features in "
            f"the shards named: {names}. Extract their shards again."
        )
    named = set(rows["video_id"])
    if unlisted := sorted(set(steps) - named):
        raise FeatureError(
            f"{statuses[0].parent}: {len(unlisted)} videos have features, but no row in the status files of the "
            f"shards: {', '.join(unlisted[:5])}. A status file was cut; remove it, and its shard is looked through "
            "again."
        )
    unnamed = [video_id for video_id in video_ids if video_id not in named]
    extra = pd.DataFrame({"video_id": unnamed, "status": "missing", "reason": "in none of the shards"})
    rows = pd.concat([rows, extra], ignore_index=True) if unnamed else rows
    rows["steps"] = [steps.get(video_id, 0) for video_id in rows["video_id"]]
    return rows.sort_values("video_id", ignore_index=True)[COVERAGE_COLUMNS]


def _read_statuses(path: Path) -> pd.DataFrame:
    columns = COVERAGE_COLUMNS[:3]
    again = "Name the status file of a shard; one that was cut remove, and its shard is looked through again."
    table = read_table(path, what="status file", columns=columns, again=again, error=FeatureError)
    return table[columns]


def _link(file: h5py.File, owner: dict[str, Path], *, folder: Path) -> None:
    # HDF5 looks for a relative name beside the file that holds the link, so both can move together.
    names = {path: Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix() for path in set(owner.values())}
    # The low level, in a fraction of the time of `group[name] = h5py.ExternalLink(...)`: a million videos are three
    # million links.
    encoded = {path: name.encode("utf-8") for path, name in names.items()}
    for group in GROUPS:
        members = file[group]  # must outlive its id
        for video_id, path in sorted(owner.items()):
            name = video_id.encode("utf-8")
            members.id.links.create_external(name, encoded[path], f"{group}/".encode() + name, lcpl=_UTF8_NAMES)


def _fit(owner: dict[str, Path], training: list[str], *, dim: int, components: int, train_split: str) -> Pca:
    if not training:
        raise FeatureError(
            f"no video of the split {train_split} has features: there is nothing to fit the PCA on. "
            "Add training videos, or set pca_components to null."
        )
    fitter = PcaFitter(dim)
    batch: list[np.ndarray] = []
    for features in _features_of(owner, training):
        batch.append(features)
        if sum(map(len, batch)) >= _PCA_BATCH:
            fitter.add(np.concatenate(batch))
            batch = []
    if batch:
        fitter.add(np.concatenate(batch))
    pca = fitter.fit(components)
    log.info(
        "PCA of %d vectors of %d videos: %d components hold %.1f %% of the variance",
        pca.samples,
        len(training),
        len(pca.components),
        100 * pca.explained_share,
    )
    return pca


def _features_of(owner: dict[str, Path], video_ids: list[str]) -> Iterator[Float32[np.ndarray, "N D"]]:
    by_shard: dict[Path, list[str]] = {}
    for video_id in video_ids:
        by_shard.setdefault(owner[video_id], []).append(video_id)
    with tqdm(total=len(video_ids), desc="PCA", unit="video", disable=None) as progress:
        for path, members in sorted(by_shard.items()):
            with FeatureStore(path) as store:
                for video_id in members:
                    yield store.get(video_id).features
                    progress.update()


def _project(file: h5py.File, owner: dict[str, Path], pca: Pca, training: list[str], *, device: torch.device) -> None:
    project = pca.on(device)
    for path in sorted(set(owner.values())):
        with FeatureStore(path) as store:
            for video_id in store.video_ids:
                video = store.get(video_id)
                file[FEATURES][video_id] = project(video.features)
                file[START][video_id] = video.start_sec
                file[END][video_id] = video.end_sec
    group = file.create_group("pca")
    group["mean"] = pca.mean
    group["components"] = pca.components
    group["explained_variance"] = pca.explained_variance
    # A dataset, since attributes end at 64 kB; which videos it has seen is part of the result.
    group.create_dataset("video_ids", data=training, dtype=h5py.string_dtype())
