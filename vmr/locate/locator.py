"""The public API: load an exported model and ask it about videos."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vmr.features.store import FeatureStore, VideoFeatures
from vmr.locate.answers import Answer
from vmr.locate.extraction import Making
from vmr.locate.model_file import ModelFile, read_model
from vmr.locate.stretches import WHOLE_FACTOR, Stretch, StretchResult, merge, plan_stretches, stretch_result
from vmr.locate.videos import VideoAnswers
from vmr.locate.word_table import Sentence
from vmr.machine.devices import choose_device
from vmr.methods.catalogue import method_named, title_of
from vmr.model.batch import Batch
from vmr.model.prediction import Prediction
from vmr.model.spans import pool_steps
from vmr.training.checkpoint import check_features

_NMS_THRESHOLD = 0.5  # as in evaluation
_STRETCHES_AT_ONCE = 16


class Locator(VideoAnswers):
    """Answers queries about videos with an exported model. Safe to use from several threads.

    A video of at most twice the network's steps is averaged to these, as in training; a longer one is looked at in
    overlapping stretches (`vmr.locate.stretches`).

    Args:
        features: a merged file of the workflow or an import, in which features are found by the video's name
            without extension; None to make them.

    Raises:
        CheckpointError: `features` are of another kind than those of training.
        FeatureError: the model was trained on imported features, and `features` is None.
        ConfigError: the device does not exist.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        cache: Path | str | None = None,
        device: str = "auto",
        features: Path | str | None = None,
    ) -> None:
        self.model = model
        self.title = title_of(str(model.info["sizes"]["method"]))
        self.trained = bool(model.info.get("trained", True))
        self._seen = set(model.info["vocabulary"]) if "vocabulary" in model.info else None
        self._learned_from = _learned_from(model.info)
        self._device = choose_device(device)
        self._network = model.network.to(self._device)
        store = FeatureStore(features) if features is not None else None
        if store is not None:
            check_features(model.path, model.info, store.provenance, dim=store.dim)
        making = Making(model.info["features"], model.files, model.pca)
        super().__init__(making, cache=cache, device=device, store=store)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        cache: Path | str | None = None,
        device: str = "auto",
        features: Path | str | None = None,
    ) -> Self:
        """Read a model that `vmr export` wrote; the other arguments are those of the class.

        Raises:
            CheckpointError: the file is missing, damaged or of another format.
        """
        return cls(read_model(Path(path)), cache=cache, device=device, features=features)

    @functools.cached_property
    def alone(self) -> str:
        """See `VideoAnswers.alone`; what a prediction offers to compare stretches by says it of videos, too."""
        if method_named(self.model.info["sizes"]["method"]).within_video:
            return "its scores were trained within a video"
        sizes, words = self.model.info["sizes"], self.model.words
        sentence = Sentence(["."], np.zeros((1, words.dim), dtype=np.float32), [True], [])
        empty = np.zeros((2, int(sizes["video_dim"])), dtype=np.float32)
        evidence = self._predict(empty, sentence, [Stretch(0, 2, 0, 2)]).row(0).evidence(torch.ones(1, 2).bool())
        return "" if evidence.log_weight is None else "its scores are shares within one video"

    def _unseen(self, sentence: Sentence) -> list[str] | None:
        if self._seen is None:
            return None
        words = zip(sentence.words, sentence.unknown, strict=True)
        new = (word for word, unknown in words if not unknown and any(map(str.isalnum, word)))
        return [word for word in dict.fromkeys(new) if word not in self._seen]

    def check(self, query: str) -> None:
        """See `VideoAnswers.check`."""
        self.model.words.sentence(query)

    def answer(
        self, query: str, features: VideoFeatures, *, video: str = "", top: int = 3, across: bool = False
    ) -> Answer:
        """See `VideoAnswers.answer`."""
        sentence = self.model.words.sentence(query)
        limit = self.model.max_steps
        rows, start_sec, end_sec = features.features, features.start_sec, features.end_sec
        if len(rows) <= WHOLE_FACTOR * limit:
            rows, start_sec, end_sec = pool_steps(rows, start_sec, end_sec, max_steps=limit)
        stretches = plan_stretches(len(rows), max_steps=limit)
        results: list[StretchResult] = []
        for first in range(0, len(stretches), _STRETCHES_AT_ONCE):
            some = stretches[first : first + _STRETCHES_AT_ONCE]
            prediction = self._predict(rows, sentence, some)
            results += [
                stretch_result(
                    prediction,
                    row,
                    stretch,
                    start_sec,
                    end_sec,
                    top=top,
                    nms_threshold=_NMS_THRESHOLD,
                    alone=len(stretches) == 1 and not across,
                )
                for row, stretch in enumerate(some)
            ]
        moments, curve = merge(results, start_sec, end_sec, top=top, nms_threshold=_NMS_THRESHOLD)
        return Answer(
            video=video,
            query=query,
            duration_sec=float(end_sec[-1]),
            moments=moments,
            curve=curve,
            stretches=len(stretches),
            unknown_words=sentence.unknown_words,
            left_out_words=sentence.left_out,
            method=self.title,
            learned_from=self._learned_from,
            unseen_words=self._unseen(sentence),
        )

    @torch.inference_mode()
    def _predict(self, rows: Float[np.ndarray, "N D"], sentence: Sentence, stretches: list[Stretch]) -> Prediction:
        count, words = len(stretches), len(sentence.words)

        def repeated(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(self._device)[None].expand(count, *array.shape)

        steps = np.stack([rows[stretch.begin : stretch.end] for stretch in stretches])
        batch = Batch(
            features=torch.from_numpy(steps).to(self._device),
            video=torch.arange(count, device=self._device),
            step_counts=torch.tensor([stretch.end - stretch.begin for stretch in stretches]),
            words=repeated(sentence.vectors),
            unknown_mask=repeated(np.array(sentence.unknown)),
            word_counts=torch.full((count,), words),
            tokens=torch.zeros(count, words, dtype=torch.int64, device=self._device),
        )
        prediction: Prediction = self._network(batch)
        return prediction


def _learned_from(info: Mapping[str, Any]) -> str:
    """What a model was trained on, in words."""
    told = info.get("learned_from")
    if not info.get("trained", True):
        return "nothing: it was not trained"
    if not told:
        return "data that its file does not tell; export it again to have it told"
    return f"{told['sentences']:,} sentences of {told['dataset']}"
