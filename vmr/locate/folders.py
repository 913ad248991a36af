"""One sentence asked of many videos: a single list of moments, ranked over all of them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vmr.errors import ConfigError, FeatureError, VideoError
from vmr.locate.answers import Answer, Search, best_of
from vmr.locate.extraction import Progress
from vmr.locate.videos import VideoAnswers
from vmr.video.containers import VIDEO

_SOUND = {".m4a", ".ogg"}
_ENDINGS = {end for ends in VIDEO.values() for end in ends} - _SOUND


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder and its subfolders, by name; hidden ones are left out. Links to folders are followed, each
    folder once, so that links in a circle end.

    Raises:
        ConfigError: there are none.
    """
    found = []
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        below = {name: os.path.realpath(Path(parent, name)) for name in folders if not name.startswith(".")}
        folders[:] = []
        for name, real in below.items():
            if real not in seen:
                seen.add(real)
                folders.append(name)
        found += [
            Path(parent, name) for name in names if Path(name).suffix.lower() in _ENDINGS and not name.startswith(".")
        ]
    if not found:
        raise ConfigError(f"{folder}: expected a folder with videos, found none in it or below it. Name another one.")
    return sorted(found)


def search(
    answering: VideoAnswers,
    videos: Sequence[Path],
    queries: Sequence[str],
    *,
    top: int,
    progress: Callable[[Path, int], Progress],
    failed: Callable[[VideoError | FeatureError], None],
) -> list[Search]:
    """Of each query the best `top` moments over all videos.

    Args:
        progress: gives, of a video and its number, what is called while its features are made.
        failed: is told of a video that cannot be used; the others are asked all the same.

    Raises:
        ConfigError: scores of different videos do not compare.
        QueryError: a query has no word that the model knows.
        VideoError: no video can be used.
    """
    refuse_search(answering)
    found: list[list[Answer]] = [[] for _ in queries]
    for number, video in enumerate(videos):
        try:
            answers = answering.locate_all(video, queries, top=top, progress=progress(video, number), across=True)
        except (VideoError, FeatureError) as error:
            failed(error)
            continue
        for own, answer in zip(found, answers, strict=True):
            own.append(answer)
    if not all(found):
        raise VideoError(f"none of the {len(videos)} videos can be used; the reasons stand above.")
    return [best_of(own, top=top) for own in found]


def refuse_search(answering: VideoAnswers) -> None:
    """Refuse a method that cannot rank moments over videos.

    Raises:
        ConfigError: says why.
    """
    if answering.alone:
        raise ConfigError(f"{why_alone(answering)} Ask a video at a time, or leave --model out.")


def why_alone(answering: VideoAnswers) -> str:
    """Why a method cannot rank moments over videos, as a sentence; empty where it can."""
    why = answering.alone
    return why and f"{answering.title} cannot search several videos at once: {why}."
