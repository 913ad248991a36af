"""What training, validation and prediction ask of a network, whatever the method.

Shapes: B videos, N steps, M candidates, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmr.model.batch import Batch
from vmr.model.encoders import FeatureScale
from vmr.model.losses import Losses
from vmr.model.prediction import Prediction

P = TypeVar("P", bound=Prediction)


class MomentNetwork(nn.Module, ABC, Generic[P]):
    """A network that answers queries about videos with moments.

    Its constructor takes plain values by keyword: of those below, the settings of the model and those of the method's
    own section (`vmr.methods.catalogue` tells of them), the ones that it names. A network tells what differs.

    Args:
        video_dim: length of the features of a step.
        word_dim: length of the word vectors.
        vocabulary: how many words there are; 0 stands for unknown ones, which nothing is to predict.
        query_hidden: length of the states of each direction of the sentence's LSTM.
        dropout: of the standardised features.
        lstm_dropout: after the sentence's LSTM.
    """

    video_encoder: FeatureScale  # the first layer on the features, which standardises them
    # False where a step of training cannot be recorded on a card, since its work depends on the data
    recordable: ClassVar[bool] = True
    # False where the gradient is that of chances, estimated by draws (policy gradients), not the derivative of the loss
    exact_gradient: ClassVar[bool] = True

    def fit_features(self, videos: Iterable[Float[Tensor, "_ D"]]) -> None:
        """Take mean and scale of the features from the training videos, see `FeatureScale.fit`."""
        self.video_encoder.fit(videos)

    @abstractmethod
    def forward(self, batch: Batch) -> P:
        """The prediction for every query of a batch.

        Raises:
            ValueError: a video is longer than the network was made for.
        """

    def candidates(
        self, step_counts: Int[Tensor, "B"], steps: int
    ) -> tuple[Float[Tensor, "B M 2"], Bool[Tensor, "B M"]] | None:
        """Spans among which it chooses, whatever the query, and which of them count; None where spans are free.

        They are what the oracle beside its row is computed from. Spans that are moved afterwards are meant unmoved.

        Returns:
            Starts and ends as shares of the video, and True at those that count.
        """
        return None

    @abstractmethod
    def losses(self, prediction: P, targets: Any) -> Losses:
        """The objective of a batch, and its parts by name.

        Args:
            targets: `Targets`; `PairTargets` for methods whose supervision is ``pairs``.
        """

    def training_loss(self, batch: Batch, targets: Any, *, stage: str) -> Losses:
        """The objective in training: ``losses(self(batch), targets)``. Networks may do otherwise; validation does not.

        It runs under autocast, losses outside of it.
        """
        prediction = self(batch)
        with torch.autocast(batch.features.device.type, enabled=False):
            return self.losses(prediction, targets)


class GridNetwork(MomentNetwork[P]):
    """A network that chooses among the same candidates in every video."""

    shares: Tensor  # start and end of each as shares of the video, a buffer

    def candidates(
        self, step_counts: Int[Tensor, "B"], steps: int
    ) -> tuple[Float[Tensor, "B M 2"], Bool[Tensor, "B M"]]:
        """All of them, in every video."""
        found = self.shares.expand(len(step_counts), -1, -1)
        return found, torch.ones_like(found[..., 0], dtype=torch.bool)
