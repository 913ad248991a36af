"""What every way to answer shares: the features of videos, found or made, and the questions to them."""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from vmr.errors import VideoError
from vmr.features.store import FeatureStore, VideoFeatures
from vmr.locate.answers import Answer
from vmr.locate.cache import FeatureCache
from vmr.locate.extraction import Making, Progress, VideoFeaturizer, recipe
from vmr.storage.files import default_cache

T = TypeVar("T")

_VIDEOS_HELD = 8


class VideoAnswers(ABC):
    """Answers queries about videos. Safe to use from several threads.

    Args:
        making: how features are made.
        cache: folder of features of earlier videos; None for `default_cache()`.
        store: features at hand, found by the video's name without extension; None to make them.

    Raises:
        FeatureError: `making` is of imported features, and `store` is None.
    """

    title: str  # of the method, as tables call it
    trained: bool = True  # False where a training did not take place, so that answers are chance
    examples: tuple[str, ...] = ()  # sentences that it can answer, for people who try it

    def __init__(
        self, making: Making, *, cache: Path | str | None, device: str, store: FeatureStore | None = None
    ) -> None:
        self._store = store
        self._held: OrderedDict[str, VideoFeatures] = OrderedDict()
        self._lock = threading.Lock()
        if store is None:
            folder = Path(cache) if cache else default_cache()
            self._cache = FeatureCache(folder, recipe(making.features))
            self._make = VideoFeaturizer(making, folder=folder, device=device)

    def locate(
        self, video: Path | str, query: str, *, top: int = 3, progress: Progress = lambda what, done, total: None
    ) -> Answer:
        """The moments of a video that a sentence may mean.

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
        across: bool = False,
    ) -> list[Answer]:
        """Several queries about one video; as `locate`, in the order of the queries.

        Args:
            across: make scores comparable with those of other videos, which then may differ from those in tables.
        """
        for query in queries:
            self.check(query)
        features = self.features(video, progress=progress)
        return [self.answer(query, features, video=str(video), top=top, across=across) for query in queries]

    @property
    def alone(self) -> str:
        """Why scores of different videos do not compare, in words after a colon; empty where they do."""
        return ""

    @abstractmethod
    def check(self, query: str) -> None:
        """Refuse a query that cannot be asked, before a video is looked at.

        Raises:
            QueryError: it has no word that is known.
        """

    @abstractmethod
    def answer(
        self, query: str, features: VideoFeatures, *, video: str = "", top: int = 3, across: bool = False
    ) -> Answer:
        """As `locate_all`, of features that `features` or `at_hand` gave; `video` is the name in the answer."""

    def features(self, video: Path | str, *, progress: Progress = lambda what, done, total: None) -> VideoFeatures:
        """Features of a video: from memory, from the cache, or made now; arguments and errors as of `locate`."""
        path = Path(video)
        if self._store is not None:
            return self._store.get(path.stem if path.stem in self._store else path.name)
        content = _told(self._cache.content, path)
        if (found := self._kept(content)) is None:
            found = self._make(path, progress)
            if path.exists() and _told(self._cache.content, path) != content:
                # Else features of the new file would be kept as those of the old one.
                raise VideoError(f"{path}: the file changed while it was looked at. Ask again when it is complete.")
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
        content = _told(self._cache.known_content, video)
        return self._kept(content) if content is not None else None

    def _kept(self, content: str) -> VideoFeatures | None:
        """What memory or the cache holds of a video."""
        with self._lock:
            found = self._held.get(content)
        found = found or self._cache.get(content)
        if found is not None:
            self._hold(content, found)
        return found

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


def _told(content: Callable[[Path], T], video: Path) -> T:
    try:
        return content(video)
    except OSError as error:
        raise VideoError(f"{video}: cannot be read ({error.strerror}). Name a video file.") from error
