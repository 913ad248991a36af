"""Exports a trained run to one file that answers queries on any machine."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch

from vmr.assets.registry import ASSETS, ASSETS_FOLDER
from vmr.config import read_mapping
from vmr.errors import CheckpointError, VmrError
from vmr.features.pca import read_pca
from vmr.locate.model_file import write_model
from vmr.locate.word_table import read_words
from vmr.methods.catalogue import METHODS, title_of
from vmr.storage.files import sha256_file
from vmr.storage.provenance import library_versions
from vmr.storage.records import read_record
from vmr.training.checkpoint import load_checkpoint
from vmr.training.run import CHECKPOINT_FILE, RUN_FILE

log = logging.getLogger(__name__)

_NAMED = 5  # runs in a refusal
_COPIED = ("sizes", "feature_kind", "queries", "method", "seed", "trained", "chosen_epoch", "selection", "vocabulary")


def export_run(
    *,
    run: Path,
    output: Path,
    assets: Path = Path(ASSETS_FOLDER),
    vectors: Path | None = None,
    weights: Path | None = None,
    mean: Path | None = None,
    features: Path | None = None,
    most_words: int = 400_000,
) -> str:
    """Write a trained run as one file: network, normalisation, words, extractor with its weights, its settings.

    The file has no code, only tensors and bytes of files whose digests are known from training.

    Returns:
        What was written where, and what takes it, in words.

    Args:
        assets: folder of word vectors and weights, under the names that training recorded.
        mean: C3D's mean clip, if training used one.
        features: the merged feature file, or a PCA: needed for reduced features.
        most_words: number of words that are taken from the beginning of the file of vectors.

    Raises:
        CheckpointError: the run is incomplete or of a blind method, or a file differs from that of training.
    """
    if run.is_file():
        raise CheckpointError(f"{run}: is a file. Name the folder of the run, such as {run.parent}.")
    if output.is_dir():
        raise CheckpointError(f"{output}: is a folder. Name the file to write, such as {output / 'model.safetensors'}.")
    checkpoint = run / CHECKPOINT_FILE
    if not checkpoint.exists() and (below := sorted(path.parent for path in run.rglob(CHECKPOINT_FILE))):
        first = {path.parent: path for path in reversed(below)}  # of each method, with one of its seeds
        named = ", ".join(map(str, sorted(first.values())[:_NAMED]))
        raise CheckpointError(f"{run}: is no run; {len(below)} are below it. Name one of them, such as {named}.")
    network, info = load_checkpoint(checkpoint)
    again = "It says how the features were made: train again."
    record = read_record(
        run / RUN_FILE, what="record of a training run", needed=("features",), again=again, error=CheckpointError
    )
    provenance: dict[str, Any] = record["features"]
    if record.get("fingerprint") != info.get("fingerprint"):
        raise CheckpointError(f"{run}: {RUN_FILE} and {CHECKPOINT_FILE} are of different runs. Train again.")
    if METHODS[info["sizes"]["method"]].exchanged is not None:
        raise CheckpointError(f"{run}: {info['method']} is blind on purpose and cannot answer. Export another method.")
    if not info.get("trained", True):
        log.warning("%s was NOT TRAINED (no training video had features): its answers are chance", run)
    path = vectors or assets / str(info["queries"]["vectors"])
    _check_digest(path, info["queries"]["vectors_sha256"], run=run, option="--vectors")
    words = read_words(path, most=most_words, max_words=int(info["queries"]["max_words"]))
    write_model(
        output,
        network,
        words,
        info={
            **{name: info[name] for name in _COPIED if name in info},
            "learned_from": _learned_from(run, record.get("counts")),
            "features": provenance,
            "checkpoint_sha256": sha256_file(checkpoint),
            "versions": library_versions(["vmr", "torch", "safetensors", "spacy"]),
        },
        files=_extractor_files(provenance, assets, weights, mean, run=run),
        pca=_pca(provenance, features, run=run),
    )
    size = f"{output.stat().st_size / 1e6:.0f} MB"
    return f"{output}: {title_of(info['sizes']['method'])}, {size}, for `vmr locate` and `vmr serve` with --model."


def _extractor_files(
    provenance: dict[str, Any], assets: Path, weights: Path | None, mean: Path | None, *, run: Path
) -> dict[str, bytes]:
    recorded = provenance.get("weights")
    if not isinstance(recorded, dict) or not provenance.get("frames"):
        log.warning(
            "%s was trained on imported features (%s): the model can be asked about such features (`--features`), not "
            "about videos",
            run,
            provenance.get("extractor"),
        )
        return {}
    path = weights or assets / str(recorded["file"])
    _check_digest(path, recorded["sha256"], run=run, option="--weights")
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: expected a safetensors file, since others may hold code. Convert it, and train with it."
        )
    files = {"weights": path.read_bytes()}
    digest = provenance.get("mean")
    if isinstance(digest, str) and len(digest) == hashlib.sha256().digest_size * 2:
        if mean is None:
            raise CheckpointError(f"{run}: its C3D features had a mean clip. Name the file with --mean.")
        _check_digest(mean, digest, run=run, option="--mean")
        files["mean"] = mean.read_bytes()
    return files


def _pca(provenance: dict[str, Any], features: Path | None, *, run: Path) -> dict[str, torch.Tensor]:
    wanted = provenance.get("pca")
    if not isinstance(wanted, dict):
        return {}
    if features is None:
        raise CheckpointError(
            f"{run}: its features were reduced to {wanted['components']} numbers by a PCA. Name the merged feature "
            "file that holds it with --features."
        )
    found = read_pca(features, components=int(wanted["components"]))
    if len(found.mean) != int(wanted["input_dim"]):
        raise CheckpointError(f"{features}: expected a PCA of {wanted['input_dim']} numbers, found {len(found.mean)}.")
    return {"mean": torch.from_numpy(found.mean), "components": torch.from_numpy(found.components)}


def dataset_title(run: Path) -> str:
    """What the dataset of a run of the workflow is called (`work/NAME/runs/...`); of others the folder's name.

    The title is that of `config.yaml` in the folder that the workflow ran in, where there is one.
    """
    for folder in run.absolute().parents:
        if folder.name == "runs":
            config = folder.parent.parent.parent / "config.yaml"
            try:
                return str(read_mapping(config)["datasets"][folder.parent.name].get("title") or folder.parent.name)
            except (VmrError, OSError, KeyError, TypeError, AttributeError):
                return folder.parent.name
    return run.name


def _learned_from(run: Path, counts: dict[str, int] | None) -> dict[str, Any] | None:
    if not counts:  # older records do not count
        return None
    named = {"sentences": "training_queries", "videos": "training_videos"}
    return {"dataset": dataset_title(run), **{name: counts[count] for name, count in named.items()}}


def _check_digest(path: Path, digest: str, *, run: Path, option: str) -> None:
    try:
        found = sha256_file(path)
    except OSError as error:
        way = "Name"
        if path.stem in ASSETS:
            way = f"Make it by `vmr assets prepare {path.stem} --output {path}`, or name"
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). {way} the file with {option}.") from error
    if found != digest:
        raise CheckpointError(
            f"{path}: expected the file that {run} was trained with (sha256 {digest[:12]}), found {found[:12]}. Name "
            f"the right one with {option}."
        )
