"""ActivityNet Captions JSON: ``{video: {"duration": s, "timestamps": [[s, s], ...], "sentences": [...]}}``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vmr.annotations.parsed import ParsedFile, Problem, Query, clean_sentence, finite_or_none, printable, read_bytes
from vmr.errors import AnnotationError


def parse_activitynet_captions(path: Path | str) -> ParsedFile:
    """Read one file in the format of ActivityNet Captions (Krishna et al., 2017).

    Charades-CD (Yuan et al., 2021) has it too, with `video_duration` for the duration.

    Args:
        path: JSON in UTF-8, with or without byte order mark.

    Returns:
        The queries, keyed ``video:index`` with the index of the sentence from 0; spans in seconds. A video whose
        duration is absent or unusable keeps its queries.

    Raises:
        AnnotationError: the file is missing, not such JSON, has nothing usable, or an id cannot name a video.
    """
    path = Path(path)
    parsed = ParsedFile()
    # Undecodable bytes become lone surrogates, so that they cost one sentence and not the file.
    text = read_bytes(path).decode("utf-8", errors="surrogateescape")
    repeated: list[str] = []
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, repeated))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON ({error}). Fetch the file again.") from error
    if not isinstance(content, dict):
        raise AnnotationError(
            f"{path}: an object from video ids to captions was expected, found {type(content).__name__}. "
            "Check annotation_format and the file."
        )
    parsed.malformed += [Problem(f"{path}: {name}", "the key appears twice; the last one counts") for name in repeated]
    for video_id, entry in content.items():
        _parse_video(parsed, video_id, entry, path=path)
    if not parsed.queries and not parsed.degenerate:
        first = f"; {parsed.malformed[0].where}: {parsed.malformed[0].reason}" if parsed.malformed else ""
        raise AnnotationError(
            f"{path}: not one usable caption in the ActivityNet Captions format{first}. "
            "Check annotation_format and the file."
        )
    return parsed


def _unique(pairs: list[tuple[str, Any]], repeated: list[str]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            repeated.append(name)
        unique[name] = value
    return unique


def _parse_video(parsed: ParsedFile, video_id: str, entry: Any, *, path: Path) -> None:
    where = f"{path}: {video_id}"
    if not isinstance(entry, dict):
        parsed.malformed.append(Problem(where, f"an object was expected, found {type(entry).__name__}"))
        return
    timestamps, sentences = entry.get("timestamps"), entry.get("sentences")
    if not isinstance(timestamps, list) or not isinstance(sentences, list):
        parsed.malformed.append(Problem(where, "the lists `timestamps` and `sentences` were expected"))
        return
    parsed.lines += len(sentences)
    if len(timestamps) != len(sentences):
        # Which sentence lacks its span cannot be known: pairing them up anyway would teach wrong moments.
        reason = f"{len(timestamps)} timestamps but {len(sentences)} sentences; the video is left out"
        parsed.malformed.append(Problem(where, reason))
        return
    given = entry.get("duration", entry.get("video_duration"))
    if given is not None:
        duration = finite_or_none(given)
        if duration is None or duration <= 0:
            reason = f"the duration {given!r} is not a number of seconds; taken as unknown"
            parsed.malformed.append(Problem(where, reason))
        else:
            parsed.durations[video_id] = duration
    for index, (span, sentence) in enumerate(zip(timestamps, sentences, strict=True)):
        _parse_caption(parsed, video_id, index, span, sentence, path=path)


def _parse_caption(parsed: ParsedFile, video_id: str, index: int, span: Any, sentence: Any, *, path: Path) -> None:
    where = f"{path}: {printable(video_id)}[{index}]"
    numbers = [finite_or_none(second) for second in span] if isinstance(span, list) else []
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        parsed.malformed.append(Problem(where, f"[start, end] in seconds was expected, found {str(span)[:80]}"))
    elif not isinstance(sentence, str):
        parsed.malformed.append(Problem(where, f"a sentence was expected, found {type(sentence).__name__}"))
    else:
        key = f"{video_id}:{index}"
        parsed.add(Query(key, where, video_id, numbers[0], numbers[1], clean_sentence(sentence)))
