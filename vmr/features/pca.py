"""Principal components in bounded memory: exact, one pass, order of the videos irrelevant but for rounding."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from vmr.errors import FeatureError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pca:
    """A fitted projection.

    Attributes:
        mean: mean of the samples.
        components: orthonormal rows, by falling variance; the largest entry of each is positive, so that equal
            samples give equal signs.
        explained_variance: variance of the samples along each component (n - 1 in the denominator).
        total_variance: sum of the variances of all input dimensions.
        samples: number of feature vectors that it was fitted on.
    """

    mean: Float64[np.ndarray, "D"]
    components: Float64[np.ndarray, "K D"]
    explained_variance: Float64[np.ndarray, "K"]
    total_variance: float
    samples: int

    @property
    def explained_share(self) -> float:
        """Share of the variance that the components hold, from 0 to 1."""
        return float(self.explained_variance.sum() / self.total_variance) if self.total_variance > 0 else 1.0

    def transform(self, features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N K"]:
        """Project feature vectors.

        Raises:
            FeatureError: they have another length than the ones that it was fitted on.
        """
        if features.shape[1] != len(self.mean):
            raise FeatureError(f"the PCA was fitted on vectors of {len(self.mean)} numbers, found {features.shape[1]}")
        projected: np.ndarray = (features.astype(np.float64) - self.mean) @ self.components.T
        return np.asarray(projected, dtype=np.float32)


class PcaFitter:
    """Collects the mean and the covariance of feature vectors, batch by batch, in float64.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1983), which loses no digits when the
    mean is large against the spread. Memory: one D x D matrix (134 MB for the 4096 numbers of C3D's fc6).

    Args:
        dim: D, length of the vectors.
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
        """The leading components.

        Args:
            components: how many; reduced, with a log line, to what the samples determine (one less than their
                number) or to the length of the vectors.

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
