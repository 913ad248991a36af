"""Principal components in bounded memory: exact, one pass, order of the videos irrelevant but for rounding."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from jaxtyping import Float, Float32, Float64

from vmr.errors import FeatureError
from vmr.features.foreign_files import ARRAY_ERRORS, own, own_array, refuse_large

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_ARRAYS = ("mean", "components", "explained_variance")


@dataclass(frozen=True)
class Pca:
    """A fitted projection."""

    mean: Float64[np.ndarray, D]
    # orthonormal rows, by falling variance; the largest entry of each is positive, so that equal samples give equal
    # signs
    components: Float64[np.ndarray, "K D"]
    # variance of the samples along each component (n - 1 in the denominator)
    explained_variance: Float64[np.ndarray, K]
    total_variance: float  # sum of the variances of all input dimensions
    samples: int  # number of feature vectors that it was fitted on

    @property
    def explained_share(self) -> float:
        """Share of the variance that the components hold, from 0 to 1; NaN where a PCA made elsewhere is silent."""
        if np.isnan(self.total_variance):
            return float("nan")
        return float(self.explained_variance.sum() / self.total_variance) if self.total_variance > 0 else 1.0

    def on(self, device: torch.device) -> Callable[[Float[np.ndarray, "N D"]], Float32[np.ndarray, "N K"]]:
        """The projection as a function of vectors, in double precision on a device, where the matrix lies from now on.

        The function raises FeatureError for vectors of another length.
        """
        import torch

        mean, components = (torch.from_numpy(array).to(device) for array in (self.mean, self.components))

        def project(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N K"]:
            if features.shape[1] != len(mean):
                raise FeatureError(f"the PCA was fitted on vectors of {len(mean)} numbers, found {features.shape[1]}")
            rows = torch.from_numpy(np.ascontiguousarray(features)).to(device, torch.float64)
            projected: np.ndarray = ((rows - mean) @ components.T).float().cpu().numpy()
            return projected

        return project


def read_pca(path: Path | str, *, components: int | None = None) -> Pca:
    """A PCA that was made elsewhere, or by an earlier merge.

    Args:
        path: ``.npz`` or HDF5 with ``mean`` (D) and ``components`` (K, D), and ``explained_variance`` (K) where it is
            known; in HDF5 at the top or in a group ``pca``, as in our merged feature files.

    Raises:
        FeatureError: the file is missing, damaged, holds other arrays, or leads to other files.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as file:
                refuse_large(sum(member.file_size for member in file.infolist()))
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files if name in _ARRAYS}
        else:
            with h5py.File(path, "r", locking=False) as file:
                group = own(file, "pca") if "pca" in file else file
                if not isinstance(group, h5py.Group):
                    raise FeatureError("pca is no group")
                arrays = {name: own_array(own(group, name)) for name in _ARRAYS if name in group}
    except (FeatureError, *ARRAY_ERRORS) as error:
        raise FeatureError(f"{path}: not a readable PCA ({error}); expected .npz or HDF5.") from error
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise FeatureError(f"{path}: expected numbers in {name}, found values of the type {array.dtype}.")
    shapes = {name: array.shape for name, array in arrays.items()}
    mean, rows = (arrays.get(name, np.zeros(0)) for name in ("mean", "components"))
    if mean.ndim != 1 or rows.ndim != 2 or not rows.size or rows.shape[1:] != mean.shape:
        raise FeatureError(f"{path}: expected the arrays mean (D) and components (K, D), found {shapes or 'none'}.")
    if len(rows) < (components or 0):
        raise FeatureError(f"{path}: {components} components are asked for, the file has {len(rows)}.")
    variance = np.asarray(arrays.get("explained_variance", np.full(len(rows), np.nan)), dtype=np.float64)
    if variance.shape != (len(rows),):
        raise FeatureError(f"{path}: expected explained_variance of {len(rows)} numbers, found shape {variance.shape}.")
    if not np.isfinite(mean).all() or not np.isfinite(rows).all():
        raise FeatureError(f"{path}: mean or components hold NaN or infinity.")
    kept = slice(components)
    return Pca(
        mean=mean.astype(np.float64),
        components=np.ascontiguousarray(rows[kept], dtype=np.float64),
        explained_variance=variance[kept],
        total_variance=float("nan"),
        samples=0,
    )


class PcaFitter:
    """Collects the mean and the covariance of feature vectors, batch by batch, in float64.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1983), which loses no digits when the
    mean is large against the spread. Memory: one D x D matrix (134 MB for the 4096 numbers of C3D's fc6).
    """

    def __init__(self, dim: int) -> None:
        self.samples = 0
        self._mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))

    def add(self, features: Float[np.ndarray, "N D"]) -> None:
        """Take one batch of vectors."""
        count = len(features)
        if not count:
            return
        batch = features.astype(np.float64)
        mean = batch.mean(axis=0)
        batch -= mean
        shift = mean - self._mean
        total = self.samples + count
        self._scatter += batch.T @ batch
        if self.samples:
            weighted = shift * np.sqrt(self.samples * count / total)
            self._scatter += np.outer(weighted, weighted)
        self._mean += shift * (count / total)
        self.samples = total

    def fit(self, components: int) -> Pca:
        """The leading components; with a log line no more than the samples determine (one less than their number).

        Raises:
            FeatureError: fewer than 2 samples.
        """
        dim = len(self._mean)
        if self.samples < 2:
            raise FeatureError(f"a PCA needs at least 2 feature vectors of training videos, found {self.samples}")
        kept = min(components, dim, self.samples - 1)
        if kept < components:
            log.warning(
                "PCA: %d components instead of %d: %d samples of %d numbers", kept, components, self.samples, dim
            )
        variances, vectors = np.linalg.eigh(self._scatter / (self.samples - 1))
        rows = vectors[:, ::-1][:, :kept].T
        largest = np.abs(rows).argmax(axis=1)
        signs = np.where(rows[np.arange(kept), largest] < 0, -1.0, 1.0)
        return Pca(
            mean=self._mean.copy(),
            components=np.ascontiguousarray(rows * signs[:, None]),
            explained_variance=np.maximum(variances[::-1][:kept], 0.0),
            total_variance=float(np.maximum(variances, 0.0).sum()),
            samples=self.samples,
        )
