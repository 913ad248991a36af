"""How large a dataset is, before a job has looked at it: videos, hours and sentences, and what of it is there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vmr.annotations.moments import read_moments, video_durations
from vmr.annotations.parse import parsed_of
from vmr.annotations.units import odd_times
from vmr.config.datasets import DatasetSettings
from vmr.errors import VmrError
from vmr.pipeline.plan import Plan
from vmr.video.listing import files_below
from vmr.video.manifest import find_videos, known_manifest
from vmr.video.probe import probed_durations
from vmr.video_ids import extension_of

# Durations that nothing tells are taken from so many videos, else for that of a video of Charades.
_PROBED, _USUAL_SEC = 10, 30.0
_DEMO_SENTENCES = 9  # of a rendered video


@dataclass(frozen=True)
class Corpus:
    """What a dataset consists of."""

    videos: int
    hours: float
    trained: int  # sentences to train on
    tested: int  # sentences that are scored
    there: int | None = None  # videos whose files are there; None where no files are needed
    gigabytes: float = 0.0  # of those files
    trained_there: int | None = None  # sentences to train on whose videos are there; None where that is not known
    wrong: str = ""  # why the times of the training moments cannot be right
    assumed: str = ""  # what is not known yet, and what was taken instead


def corpus_of(plan: Plan, name: str, *, work: Path = Path("work")) -> Corpus | None:
    """The size of a dataset, by its table of moments, else its annotation files, else what its section says.

    None where nothing says anything yet.
    """
    dataset = plan.datasets[name]
    moments = moments_of(dataset, work / name)
    needs_videos = name == plan.source(name) and name not in plan.imports
    if moments is None:
        corpus = _unread(plan, name, work=work)
        return None if corpus is None else _with_files(corpus, dataset) if needs_videos else corpus
    durations = video_durations(moments, known_manifest(work / name))
    ids = list(moments["video_id"].unique())
    files = find_videos(str(dataset.videos), ids) if needs_videos else {}
    known = {video_id: durations[video_id] for video_id in ids if video_id in durations}
    assumed = ""
    if needs_videos and not known:
        known = probed_durations(files, most=_PROBED)
        assumed = f"durations by {len(known)} of the videos" if known else ""
    if not known:
        assumed = f"durations are not known yet: {_USUAL_SEC:g} s a video"
    mean = sum(known.values()) / len(known) if known else _USUAL_SEC
    split = moments["split"]
    return Corpus(
        videos=len(ids),
        hours=mean * len(ids) / 3600,
        trained=int((split == dataset.train_split).sum()),
        tested=int(split.isin(dataset.tested).sum()),
        there=len(files) if needs_videos else None,
        gigabytes=sum(path.stat().st_size for path in files.values()) / 1e9,
        trained_there=int(((split == dataset.train_split) & moments["video_id"].isin(list(files))).sum())
        if needs_videos
        else None,
        wrong=odd_times(moments[split == dataset.train_split], known, what="training moments"),
        assumed=assumed,
    )


def moments_of(dataset: DatasetSettings, folder: Path) -> pd.DataFrame | None:
    """The table of moments in a dataset's folder of results, else of its annotation files; None where neither is there
    or can be read.

    A table that is older than one of the files does not count: it will be made anew.
    """
    table = folder / "annotations" / "moments.csv"
    files = [Path(file) for file in [*dataset.annotation_files, *dataset.durations]]
    try:
        made = table.stat().st_mtime_ns
        if all(file.stat().st_mtime_ns <= made for file in files if file.exists()):
            return read_moments(table)
    except (OSError, VmrError):  # none yet
        pass
    if not all(file.is_file() for file in files):
        return None
    try:
        return parsed_of(dataset)[0]
    except VmrError:  # the job that parses them says it
        return None


def _unread(plan: Plan, name: str, *, work: Path) -> Corpus | None:
    dataset = plan.datasets[name]
    if render := dataset.render:
        videos = render.train_videos + render.test_videos
        sentences = [_DEMO_SENTENCES * count for count in (render.train_videos, render.test_videos)]
        return Corpus(videos, videos * render.duration_sec / 3600, sentences[0], sentences[1])
    if simulate := dataset.simulate:
        source = corpus_of(plan, simulate.source, work=work)
        if source is None:
            return None
        share = min(1.0, sum(simulate.videos.values()) / source.videos) if simulate.videos else 1.0
        return Corpus(
            round(share * source.videos),
            share * source.hours,
            round(share * source.trained),
            round(share * source.tested),
            assumed=source.assumed,
        )
    counts, size = dataset.expected_counts, dataset.known_size
    if not size or not {dataset.train_split, *dataset.tested} <= set(counts):
        return None
    lines: Mapping[str, int] = {split: own.get("lines", 0) for split, own in counts.items()}
    return Corpus(
        int(size["videos"]),
        size["hours"],
        lines[dataset.train_split],
        sum(lines[split] for split in dataset.tested),
        assumed="counts by config.yaml, since the annotations are not there yet",
    )


def _with_files(corpus: Corpus, dataset: DatasetSettings) -> Corpus:
    """The same with how many files of videos lie in the folder, whatever their names."""
    folder = Path(str(dataset.videos))
    there = files_below(folder) if folder.is_dir() else ()
    sizes = [entry.stat().st_size for file, entry in there if extension_of(file)]
    return replace(corpus, there=min(len(sizes), corpus.videos), gigabytes=sum(sizes) / 1e9)
