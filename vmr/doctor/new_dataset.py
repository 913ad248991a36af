"""A section of `config.yaml` for own data, written after a look at the CSV and the folder of videos."""

import re
import stat
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vmr.annotations.csv_table import read_table
from vmr.annotations.moments import moments_table
from vmr.annotations.parsed import ParsedFile, settle_video_ids
from vmr.annotations.sentences_csv import parse_table, splits_of
from vmr.annotations.units import odd_times
from vmr.config import load_config, read_mapping
from vmr.config.whole import DATASET_NAME
from vmr.doctor.check_annotations import PAST_END_SEC
from vmr.errors import AnnotationError, ConfigError, VideoError
from vmr.methods.catalogue import family
from vmr.names import SPLIT_NAME
from vmr.storage.files import write_text
from vmr.video.ffprobe import require_program
from vmr.video.listing import files_below
from vmr.video.manifest import find_videos, why_missing
from vmr.video.probe import probe_video
from vmr.video_ids import extension_of, plain_name, stem_of

# For some hundred sentences, on a processor without a GPU: as the rendered demo, which has more sentences and shapes
# so large that a smaller square shows them as well.
QUICK: dict[str, Any] = {
    "features": {"i3d": {"mode": "continuous"}},
    "model": {"hidden": 128, "query_hidden": 64, "heads": 4, "dropout": 0.1, "lstm_dropout": 0.1},
    "training": {
        "methods": family("ci_mha", blind=False),
        "seeds": [0, 1, 2, 3],
        "learning_rate": 0.0005,
        "batch_size": 16,
        "epochs": 30,
    },
}
_VIDEOS_A_SHARD = 50
_SHOWN = 10
_PROBE_SEC = 60.0
_FEW_SENTENCES = 2000


def add_dataset(
    name: str, *, videos: Path, sentences: Path, config: Path, title: str | None = None, quick: bool = False
) -> str:
    """Look at own data and write its section into the configuration; the rest of the file stays as it is.

    Args:
        sentences: CSV, see `vmr.annotations.sentences_csv`; divided by its column `split`, which must then have
            `train`, else by videos into `train` and `test`.

    Raises:
        ConfigError: the name cannot be used, or the file cannot be changed so.
        AnnotationError: the CSV cannot be used.
        VideoError: not one of the videos is in the folder.
    """
    before = read_mapping(config)
    if not isinstance(before.get("datasets"), dict):
        raise ConfigError(f"{config}: the section `datasets` was expected.")
    if not DATASET_NAME.fullmatch(name):
        raise ConfigError(f"`{name}` is not a name for a dataset: letters, digits, _ and - only.")
    if name in before["datasets"]:
        raise ConfigError(
            f"{config}: has a dataset `{name}` already. Choose another name, or change or remove that one."
        )
    table = read_table(sentences)
    named = splits_of(table) or ["train", "test"]
    splits = ["train" if split.casefold() == "train" else split for split in named]
    if "train" not in splits or len(splits) < 2:
        raise AnnotationError(
            f"{sentences}: the column split holds {', '.join(splits)}; `train` and at least one other were expected. "
            "Correct it, or remove the column to have a fifth of the videos tested. A model that is trained already is "
            "scored without a dataset: docs/locate.md, `vmr locate FOLDER --queries FILE`."
        )
    if odd := next((split for split in splits if not SPLIT_NAME.fullmatch(split)), ""):
        raise AnnotationError(
            f"{sentences}: the column split holds {odd!r}; letters, digits, _, + and - were expected. Rename it."
        )
    parsed = parse_table(table, splits=splits)
    written = {plain_name(query.video_id) for part in parsed.values() for query in part.queries}
    settle_video_ids(parsed.values())
    if not any(part.queries for part in parsed.values()):
        raise AnnotationError(
            f"{sentences}: no usable row is left, every moment starts at or after its end. Are the columns exchanged?"
        )
    wanted = {query.video_id for part in parsed.values() for query in [*part.queries, *part.degenerate]}
    found = find_videos(videos, wanted)
    if not found:
        raise VideoError(_no_video(videos, sorted(wanted)))
    tested = [split for split in splits if split != "train"]
    section: dict[str, Any] = {
        "title": title or name,
        "annotation_format": "csv",
        "annotations": dict.fromkeys(splits, str(sentences)),
        "videos": str(videos),
        "test_splits": {split: split for split in tested},
        "shards": max(2, min(64, -(-len(wanted) // _VIDEOS_A_SHARD))),
    }
    _write(config, before, name, section | ({"overrides": QUICK} if quick else {}))
    unused = ", ".join(table.unused)
    lines = [*_told_of_sentences(sentences, parsed), *([f"  columns that are not used: {unused}"] if unused else [])]
    lines += [*_told_of_videos(videos, sorted(wanted), found, written=written)]
    lines += _told_of_lengths(found, parsed)
    if validation := [split for split in tested if split.lower().startswith(("val", "dev"))]:
        lines.append(
            f"{', '.join(validation)}: a block of the table. Epochs are chosen on a share of the training videos "
            "(training.validation_fraction)."
        )
    trained = len(parsed["train"].queries)
    if trained < _FEW_SENTENCES and not quick:
        lines.append(f"{trained:,} sentences are few for the paper's network; --quick writes the demo's smaller one.")
    lines += [f"{config}: the dataset `{name}` was added. Next:", f"  vmr doctor {name}"]
    return "\n".join([*lines, f"  snakemake --cores all results/{name}_table.csv results/{name}_report.html"])


def _write(config: Path, before: Mapping[str, Any], name: str, section: dict[str, Any]) -> None:
    config = config.resolve()  # a link stays one
    with config.open(encoding="utf-8", newline="") as file:
        text = file.read()
    dumped = yaml.safe_dump({name: section}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    end = "\r\n" if "\r\n" in text else "\n"
    dumped = "".join(f"  {line}{end}" for line in dumped.splitlines())
    head = r"^datasets:[ \t]*(#.*)?\r?\n"
    after = re.sub(head, lambda found: f"{found[0]}{dumped}{end}", text, count=1, flags=re.MULTILINE)
    # Files may be written otherwise than ours is: what comes out must be what was there, and the section.
    if yaml.safe_load(after) != {**before, "datasets": {name: section, **before["datasets"]}}:
        raise ConfigError(f"{config}: could not be changed by itself. Write this below `datasets:`\n{dumped}")
    load_config(yaml.safe_load(after))
    mode = stat.S_IMODE(config.stat().st_mode)
    write_text(config, after)
    config.chmod(mode)


def _told_of_sentences(path: Path, parsed: Mapping[str, ParsedFile]) -> list[str]:
    lines = [f"{path}: {sum(part.lines for part in parsed.values()):,} rows"]
    for split, part in parsed.items():
        videos = len({query.video_id for query in part.queries})
        lines.append(f"  {split}: {len(part.queries):,} sentences about {videos:,} videos")
    problems = [f"{one.where}: {one.reason}" for part in parsed.values() for one in part.malformed]
    problems += [
        f"{one.where}: starts at {one.start_sec:g} s but ends at {one.end_sec:g} s"
        for part in parsed.values()
        for one in part.degenerate
    ]
    return lines + _listed("  rows with a problem", problems)


def _told_of_videos(
    folder: Path, wanted: Sequence[str], found: Mapping[str, Path], *, written: Collection[str]
) -> list[str]:
    files = _files(folder)
    taken, named = {str(path) for path in found.values()}, set(wanted)
    spare = [file for path, file in files.items() if path not in taken]
    aside = []
    for file in spare:
        if own := found.get(stem_of(file)):
            why = ", though a row names this file; remove or rename one of them" if plain_name(file) in written else ""
            aside.append(f"{file} ({files[str(own)]} is taken{why})")
    unnamed = [file for file in spare if not {stem_of(file), plain_name(file)} & named]
    reasons = why_missing(folder, [video_id for video_id in wanted if video_id not in found])
    missing = [f"{name}{reason}" for name, reason in reasons.items()]
    lines = [f"{folder}: {len(found):,} of {len(wanted):,} videos are there", *_listed("  missing", missing)]
    return lines + _listed("  left aside", aside) + _listed("  files that no row names", unnamed)


def _told_of_lengths(found: Mapping[str, Path], parsed: Mapping[str, ParsedFile]) -> list[str]:
    """What ffprobe says of the videos, and which moments end after theirs."""
    require_program("ffprobe")
    probed = {name: probe_video(path, timeout_sec=_PROBE_SEC) for name, path in found.items()}
    lengths = {name: float(row["duration_sec"]) for name, row in probed.items() if row["status"] == "ok"}
    codecs = Counter(str(row["codec"]) for row in probed.values() if row["status"] == "ok")
    lines = [f"  {sum(lengths.values()) / 60:,.1f} minutes: {', '.join(codecs)}"] if lengths else []
    lines += _listed("  broken", [f"{name}: {row['reason']}" for name, row in probed.items() if row["status"] != "ok"])
    for split, part in parsed.items():
        table = moments_table([(split, split, query) for query in part.queries], lengths)
        if reason := odd_times(table, lengths):
            lines.append(f"  {split}: {reason}")
    past = [
        f"{one.where}: {one.start_sec:g} to {one.end_sec:g} s of {lengths[one.video_id]:.2f} s"
        for part in parsed.values()
        for one in part.queries
        if one.end_sec > lengths.get(one.video_id, float("inf")) + PAST_END_SEC
    ]
    total = sum(query.video_id in lengths for part in parsed.values() for query in part.queries)
    return lines + _listed(f"  past the end of their video, of {total:,} moments", past)


def _no_video(folder: Path, wanted: Sequence[str]) -> str:
    files = list(_files(folder).values())
    there = f"it holds {len(files):,} videos such as {files[0]}" if files else "it holds no video files"
    return (
        f"{folder}: not one of the {len(wanted):,} videos of the CSV is there, such as {wanted[0]}; {there}. The "
        "column `video` holds the names of the files."
    )


def _files(folder: Path) -> dict[str, str]:
    """Names of the video files below the folder, by path."""
    if not folder.is_dir():
        raise VideoError(f"{folder}: there is no such folder; the folder of the video files was expected.")
    return {str(folder / file): file for file, _ in sorted(files_below(folder)) if extension_of(file)}


def _listed(what: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    more = [f"    and {len(entries) - _SHOWN:,} more"] if len(entries) > _SHOWN else []
    return [f"{what}: {len(entries):,}", *(f"    {entry}" for entry in entries[:_SHOWN]), *more]
