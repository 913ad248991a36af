"""Makes an asset ready: from an installed package, or downloaded, checked and converted."""

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from vmr.assets.archives import extract_files, extract_member
from vmr.assets.download import download
from vmr.assets.flax_i3d import i3d_state_dict_from_flax, load_flax_pickle
from vmr.assets.glove_package import write_glove_text
from vmr.assets.packages import installed_path, package_file
from vmr.assets.registry import ASSETS, Asset, get_asset
from vmr.errors import AssetError
from vmr.storage.files import atomic_path, sha256_file, writing

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")

logger = logging.getLogger(__name__)


def prepare_asset(name: str, *, output: Path, cache: Path) -> None:
    """Write an asset in the form that the stages read.

    Weights become safetensors (metadata: name, source, sha256 of the source), GloVe vectors a text file, annotations
    the file as published.

    Args:
        output: the file to write. Its name chooses among several files of an archive.

    Raises:
        AssetError: the asset is unknown, cannot be obtained, or has unexpected content.
        ShardError: the disk is full or the folder cannot be written.
    """
    asset = get_asset(name)
    if asset.preparation == "video_archive":
        raise AssetError(
            f"asset {name}: expected one file, found an archive of videos. Use `vmr assets videos` instead."
        )
    if asset.preparation == "i3d_flax":
        source = package_file(asset, "weights")
        _write_weights(i3d_state_dict_from_flax(load_flax_pickle(source)), output, asset=asset, source=source)
    elif asset.preparation == "glove_package":
        vectors, words = package_file(asset, "vectors"), package_file(asset, "words")
        write_glove_text(vectors, words, output=output, sha256=asset.prepared_sha256)
    elif asset.preparation == "minilm_package":
        _prepare_minilm(asset, output)
    else:
        _prepare_download(asset, output, cache)
    logger.info("%s: written to %s", name, output)


def fetch_videos(name: str, *, folder: Path, cache: Path) -> None:
    """Download an archive of videos and unpack it into a new folder; a second call continues an interrupted one.

    The folder gets its name when all videos are there. An existing folder belongs to the user and is refused.

    Raises:
        AssetError: there is no such archive, it cannot be obtained, or it is damaged or hostile.
        ShardError: the folder cannot be renamed.
    """
    asset = get_asset(name)
    if asset.preparation != "video_archive":
        names = ", ".join(other.name for other in ASSETS.values() if other.preparation == "video_archive")
        raise AssetError(f"asset {name}: expected an archive of videos, found another asset. Choose from: {names}.")
    if folder.exists():
        raise AssetError(f"{folder}: the folder exists already. Remove it to fetch the videos again, or keep it.")
    source = fetch_asset(name, cache=cache)
    unfinished = folder.with_name(folder.name + ".part")
    count = extract_files(source, unfinished, suffixes=VIDEO_SUFFIXES, limit_bytes=asset.member_limit_bytes)
    with writing(folder):
        unfinished.rename(folder)
    logger.info("%s: %d videos in %s; %s is needed no more and may be deleted", name, count, folder, source)


def fetch_asset(name: str, *, cache: Path) -> Path:
    """Path of the checked original of an asset that is not embedded: from the cache, else downloaded.

    Raises:
        AssetError: it cannot be obtained, or is not the expected file.
        ShardError: the disk is full.
    """
    asset = get_asset(name)
    path = cache / asset.file_name
    try:
        download(asset.addresses, destination=path, sha256=asset.sha256, size_bytes=asset.size_bytes)
    except AssetError as error:
        if path.exists():
            raise
        raise AssetError(_how_to_get(asset, path, reason=str(error))) from error
    except OSError as error:
        raise AssetError(f"{path}: cannot be written ({error}). Choose another folder for downloads.") from error
    return path


def describe_assets(*, cache: Path) -> str:
    """A table of all assets for people: what, status, size, licence, where from."""
    blocks = []
    for name, asset in ASSETS.items():
        origin = f"package {asset.requirement}" if asset.embedded else "\n    or ".join(asset.addresses)
        size = f"{asset.size_bytes / 1e6:,.1f} MB" if asset.size_bytes else "size not known"
        facts = [
            asset_status(asset, cache),
            *([] if asset.embedded else [size, f"sha256 {asset.sha256 or 'not known'}"]),
        ]
        blocks.append(f"{name}\n    {asset.description}\n    {', '.join(facts)}\n    {origin}\n    {asset.licence}")
        if len(asset.members) > 1:
            blocks[-1] += f"\n    holds {', '.join(asset.members)}"
    return "\n\n".join(blocks)


def _prepare_download(asset: Asset, output: Path, cache: Path) -> None:
    if asset.preparation == "archive_member" and output.name not in asset.members:
        raise AssetError(
            f"asset {asset.name}: holds {', '.join(asset.members)}; the output must have one of these names, found "
            f"{output.name}."
        )
    source = fetch_asset(asset.name, cache=cache)
    if asset.preparation in ("glove_zip", "archive_member"):
        member = asset.members[0] if asset.preparation == "glove_zip" else output.name
        extract_member(source, member, output=output, limit_bytes=asset.member_limit_bytes)
    elif asset.preparation == "copy":
        with writing(output), atomic_path(output) as temporary:
            shutil.copyfile(source, temporary)
    else:
        # Imported here, since loading torch takes seconds and the other assets do not need it.
        from vmr.assets.torch_weights import c3d_weights, i3d_weights, load_torch_checkpoint

        convert = c3d_weights if asset.preparation == "c3d_torch" else i3d_weights
        tensors = convert(load_torch_checkpoint(source), path=source)
        weights = {key: tensor.numpy() for key, tensor in tensors.items()}
        _write_weights(weights, output, asset=asset, source=source)


def _prepare_minilm(asset: Asset, output: Path) -> None:
    """The network and its tokenizer in one file, the tokenizer as metadata."""
    archive = package_file(asset, "archive")
    with tempfile.TemporaryDirectory() as folder:
        weights, tokenizer = (Path(folder, member) for member in asset.members)
        for path in (weights, tokenizer):
            extract_member(archive, path.name, output=path, limit_bytes=asset.member_limit_bytes)
        told = {"tokenizer": tokenizer.read_text(encoding="utf-8")}
        _write_weights(load_file(weights), output, asset=asset, source=archive, told=told)


def _write_weights(
    weights: Mapping[str, np.ndarray], output: Path, *, asset: Asset, source: Path, told: Mapping[str, str] = {}
) -> None:
    origin = asset.requirement or asset.addresses[0]
    metadata = {"name": asset.name, "source": origin, "sha256": sha256_file(source), "licence": asset.licence, **told}
    # Not written by safetensors, whose errors do not tell a full disk from tensors that it does not take.
    content = save(dict(weights), metadata=metadata)
    # The library writes metadata in another order each time, and weights are known by the SHA-256 of their file.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    content = len(header).to_bytes(8, "little") + header + content[end:]
    with writing(output), atomic_path(output) as temporary:
        temporary.write_bytes(content)


def asset_status(asset: Asset, cache: Path) -> str:
    """``installed`` or not (embedded), ``downloaded``, ``partly downloaded`` or ``not downloaded``."""
    if asset.embedded:
        there = all(installed_path(asset, key) for key in asset.package_files)
        return "installed" if there else "not installed"
    path = cache / asset.file_name
    if path.exists():
        return "downloaded"
    return "partly downloaded" if path.with_name(path.name + ".part").exists() else "not downloaded"


def _how_to_get(asset: Asset, path: Path, *, reason: str) -> str:
    facts = [f"{asset.size_bytes:,} bytes"] if asset.size_bytes else []
    facts += [f"SHA-256 {asset.sha256}" if asset.sha256 else "its SHA-256 is not known beforehand"]
    return (
        f"asset {asset.name} ({asset.description}) could not be downloaded: {reason}. Without a network, get "
        f"{asset.addresses[0]} elsewhere ({', '.join(facts)}; see {asset.page}) and put it at {path.absolute()}, or "
        f"name a file of your own in config.yaml instead of {asset.name}."
    )
