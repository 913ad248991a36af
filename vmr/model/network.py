"""What training, validation and prediction ask of a network, whatever the method.

Shapes: B queries of a batch, U different videos of them, N steps, L words, D features, E word vector.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmr.model.encoders import FeatureScale
from vmr.model.losses import Losses, Targets
from vmr.model.prediction import Prediction

P = TypeVar("P", bound=Prediction)


class MomentNetwork(nn.Module, ABC, Generic[P]):
    """A network that answers queries about videos with moments.

    Attributes:
        video_encoder: the first layer on the features, which standardises them.
    """

    video_encoder: FeatureScale

    def fit_features(self, videos: Iterable[Float[Tensor, "_ D"]]) -> None:
        """Take mean and scale of the features from the training videos, see `FeatureScale.fit`."""
        self.video_encoder.fit(videos)

    @abstractmethod
    def forward(
        self,
        features: Float[Tensor, "U N D"],
        step_counts: Int[Tensor, "B"],
        words: Float[Tensor, "B L E"],
        unknown_mask: Bool[Tensor, "B L"],
        word_counts: Int[Tensor, "B"],
        video: Int[Tensor, "B"] | None = None,
        *,
        spans_only: bool = False,
    ) -> P:
        """The prediction for every query of a batch.

        Args:
            features: of the steps of each video; finite, and what they hold after the last does not matter.
            step_counts: steps of the video of each query.
            words: word vectors; zeros after the last word.
            unknown_mask: True at unknown words.
            word_counts: words of each query.
            video: which of the videos each query is about; by default one of each.
            spans_only: leave out what the prediction's `ranked` does not look at.

        Raises:
            ValueError: a video without steps, a query without words, or a video longer than the network was made
                for.
        """

    @abstractmethod
    def losses(self, prediction: P, targets: Targets) -> Losses:
        """The objective of a batch, and its parts by name."""
