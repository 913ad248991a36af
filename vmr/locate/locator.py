"""The public API: load an exported model and ask it about videos."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vmr.errors import VideoError
from vmr.features.store import FeatureStore, VideoFeatures
from vmr.locate.answers import Answer
from vmr.locate.cache import FeatureCache, default_cache
from vmr.locate.extraction import Progress, VideoFeaturizer, recipe
from vmr.locate.model_file import ModelFile, read_model
from vmr.locate.stretches import WHOLE_FACTOR, Stretch, StretchResult, merge, plan_stretches, stretch_result
from vmr.locate.word_table import Sentence
from vmr.machine.devices import choose_device
from vmr.model.batch import Batch
from vmr.model.prediction import Prediction
from vmr.model.spans import pool_steps
from vmr.training.checkpoint import check_features

_NMS_THRESHOLD = 0.5  # as in evaluation
_STRETCHES_AT_ONCE = 16
_VIDEOS_HELD = 8


class Locator:
    """Answers queries about videos with an exported model. Safe to use from several threads.

    Args:
        cache: folder of features of earlier videos; None for `default_cache()`.
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
        self._device = choose_device(device)
        self._network = model.network.to(self._device)
        self._store: FeatureStore | None = None
        self._held: OrderedDict[str, VideoFeatures] = OrderedDict()
        self._lock = threading.Lock()
        if features is not None:
            self._store = FeatureStore(features)
            check_features(model.path, model.info, self._store.provenance, dim=self._store.dim)
            return
        folder = Path(cache) if cache else default_cache()
        self._cache = FeatureCache(folder, recipe(model.info))
        self._make = VideoFeaturizer(model, folder=folder, device=device)

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

    def locate(
        self, video: Path | str, query: str, *, top: int = 3, progress: Progress = lambda what, done, total: None
    ) -> Answer:
        """The moments of a video that a sentence may mean.

        A video of at most twice the network's steps is averaged to these, as in training; a longer one is looked at in
        overlapping stretches (`vmr.locate.stretches`).

        Args:
            video: a file; its name is enough where features are given.
            progress: called while the features of a new video are made.

        Raises:
            VideoError: the file is missing or cannot be decoded.
            FeatureError: the video has no usable features.
            QueryError: the query has no word that the model knows.
        """
        return self.locate_all(video, [query], top=top, progress=progress)[0]

    def locate_all(
        self,
        video: Path | str,
        queries: Sequence[str],
        *,
        top: int = 3,
        progress: Progress = lambda what, done, total: None,
    ) -> list[Answer]:
        """Several queries about one video; as `locate`, in the order of the queries."""
        sentences = [self.model.words.sentence(query) for query in queries]
        features = self.features(video, progress=progress)
        return [
            self._answer(str(video), query, sentence, features, top=top)
            for query, sentence in zip(queries, sentences, strict=True)
        ]

    def answer(self, query: str, features: VideoFeatures, *, video: str = "", top: int = 3) -> Answer:
        """As `locate`, of features that `features` or `at_hand` gave; `video` is the name in the answer."""
        return self._answer(video, query, self.model.words.sentence(query), features, top=top)

    def features(self, video: Path | str, *, progress: Progress = lambda what, done, total: None) -> VideoFeatures:
        """Features of a video: from memory, from the cache, or made now; arguments and errors as of `locate`."""
        path = Path(video)
        if self._store is not None:
            return self._store.get(path.stem if path.stem in self._store else path.name)
        try:
            content = self._cache.content(path)
        except OSError as error:
            raise VideoError(f"{path}: cannot be read ({error.strerror}). Name a video file.") from error
        with self._lock:
            found = self._held.get(content)
        found = found or self._cache.get(content)
        if found is None:
            found = self._make(path, progress)
            self._cache.put(content, found)
        self._hold(content, found)
        return found

    def at_hand(self, video: Path) -> VideoFeatures | None:
        """Features of a video from memory or the cache; None where they must be made first.

        Raises:
            VideoError: the file is missing.
            FeatureError: features were given to the locator, and this video has none.
        """
        if self._store is not None:
            return self.features(video)
        try:
            content = self._cache.known_content(video)
        except OSError as error:
            raise VideoError(f"{video}: cannot be read ({error.strerror}). Name a video file.") from error
        if content is None:
            return None
        with self._lock:
            held = self._held.get(content)
        if held is None and (held := self._cache.get(content)) is not None:
            self._hold(content, held)
        return held

    def is_ready(self, video: Path) -> bool:
        """Whether the features of a video exist already."""
        if self._store is not None:
            return video.stem in self._store or video.name in self._store
        content = self._cache.known_content(video)
        return content is not None and (content in self._held or self._cache.path(content).is_file())

    def forget(self, video: Path) -> None:
        """Delete everything kept of a video; call it before the video is deleted."""
        if self._store is not None:
            return
        with self._lock:
            content = self._cache.known_content(video) if video.exists() else None
            self._held.pop(content or "", None)
        self._cache.forget(video)

    @property
    def makes_features(self) -> bool:
        """Whether new videos can be used; False where features were given."""
        return self._store is None

    def _hold(self, content: str, features: VideoFeatures) -> None:
        with self._lock:
            self._held[content] = features
            self._held.move_to_end(content)
            while len(self._held) > _VIDEOS_HELD:
                self._held.popitem(last=False)

    def _answer(self, video: str, query: str, sentence: Sentence, features: VideoFeatures, *, top: int) -> Answer:
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
                    alone=len(stretches) == 1,
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
