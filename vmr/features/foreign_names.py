"""Which file, or which dataset of an HDF5 file, holds a video's features, however people name them."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vmr.names import ImportLayout
from vmr.video_ids import VideoNames

ID = "{id}"
_SHOWN = 4  # patterns, names and kinds of files that a message lists
_NO_FEATURES = re.compile("fps|time|stamp|mask|label", re.IGNORECASE)  # what lies beside features under like names
_LOOKED_AT = 50  # videos whose names are looked for to tell the pattern


@dataclass(frozen=True)
class Pattern:
    """The setting `pattern`, such as ``features/{id}_rgb.npz/rgb``, in its parts."""

    folder: str = ""  # what stands before the part with the id, ending with a slash, or nothing
    before: str = ""  # what stands before the id in its part
    after: str = ""  # what stands behind it there
    inside: str = ""  # the file in a folder of the video, or the array in its file or group; or nothing

    @classmethod
    def of(cls, text: str) -> Self:
        """Take a pattern apart.

        >>> Pattern.of("i3d/{id}_rgb.npz/rgb")
        Pattern(folder='i3d/', before='', after='_rgb.npz', inside='rgb')
        """
        head, _, tail = text.partition(ID)
        folder, slash, before = head.rpartition("/")
        after, _, inside = tail.partition("/")
        return cls(folder + slash, before, after, inside)

    def key(self, name: str) -> str | None:
        """What stands in the place of the id in a name; None where the name is another."""
        if (
            len(name) > len(self.before) + len(self.after)
            and name.startswith(self.before)
            and name.endswith(self.after)
        ):
            return name[len(self.before) : len(name) - len(self.after)]
        return None


class HeldNames:
    """Finds the names that stand for a video: by its id, with or without `v_`, however the id is written."""

    def __init__(self, names: Iterable[tuple[str, str]], *, by_pattern: bool) -> None:
        """Take what stands for the id in each name, and the name; by a pattern, one that is the id itself suffices."""
        self._names: dict[str, list[str]] = {}
        for key, name in names:
            self._names.setdefault(key, []).append(name)
        self._finder, self._by_pattern = VideoNames(self._names), by_pattern

    def find(self, video_id: str) -> list[str]:
        """The names that hold a video; several where nobody can know which one is meant."""
        for written in (video_id, f"v_{video_id}", video_id.removeprefix("v_")):
            exact = self._by_pattern and written in self._names
            if keys := [written] if exact else self._finder.find_all(written):
                return [name for key in keys for name in self._names[key]]
        return []

    def nearest(self, video_id: str) -> str:
        """End of a message: a name that differs in case or signs only, or little."""
        return self._finder.nearest(video_id)


def name_one(names: Sequence[str], video_id: str) -> str:
    """What to do about several names that hold a video: the end of a message.

    >>> name_one(["train/v_3MSZA.npz", "test/v_3MSZA.npz"], "3MSZA")
    '(train/v_3MSZA.npz, test/v_3MSZA.npz); name one, such as `pattern: "test/v_{id}.npz"`'
    """
    shortest = min((pattern for pattern, _ in patterns_of(names, [video_id])), key=len, default="")
    such_as = f', such as `pattern: "{shortest}"`' if shortest else " by `pattern`"
    return f"({', '.join(names)}); name one{such_as}"


def patterns_of(names: Sequence[str], video_ids: Iterable[str]) -> list[tuple[str, int]]:
    """Patterns that names with ids of videos in them follow, the most frequent first, with their numbers of videos.

    Numbers behind the id are one pattern, since a file a clip is named so.

    >>> patterns_of(["a1_rgb.npy", "b2_rgb.npy", "a1_flow.npy"], ["a1", "b2"])
    [('{id}_rgb.npy', 2), ('{id}_flow.npy', 1)]
    """
    counts: Counter[str] = Counter()
    for video_id in list(video_ids)[:_LOOKED_AT]:
        whole = re.compile(rf"(?<![^\W_]){re.escape(video_id.removeprefix('v_'))}(?![^\W_])")
        found = {whole.sub(ID, name, count=1) for name in names if whole.search(name)}
        for pattern, several in _numbers_out(found).items():
            counts[pattern if len(several) > 1 else several[0]] += 1
    return counts.most_common()


def _numbers_out(patterns: Iterable[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for pattern in sorted(patterns):
        head, _, tail = pattern.partition(ID)
        grouped.setdefault(f"{head}{ID}{re.sub(r'_[0-9]+(?=[._]|$)', '_*', tail)}", []).append(pattern)
    return grouped


def what_is_held(names: Sequence[str], video_ids: Sequence[str], *, read: Callable[[str], bool]) -> str:
    """What a source holds instead of the videos that are looked for, as sentences for a message.

    Args:
        read: whether a name is of a kind that is read.
    """
    if not names:
        return "It is empty."
    patterns = patterns_of(names, video_ids)
    usable = [pattern for pattern, _ in patterns if read(pattern)]
    usable.sort(key=lambda pattern: ("rgb" not in pattern, bool(_NO_FEATURES.search(pattern))))
    clips = [pattern for pattern in usable if "*" in pattern]
    listed = ", ".join(f"{pattern} ({count:,})" for pattern, count in patterns[:_SHOWN])
    if clips:
        return f"It holds several files a video: {listed}. Put the clips of a video into one array (steps, numbers)."
    if usable:
        return f'It holds {listed}. Name the one to take, such as `pattern: "{usable[0]}"`.'
    if patterns:
        return (
            f"It holds {listed}, which are not read. Save arrays as .npy, .npz, .pt, .pth or .safetensors, or as one "
            "HDF5 file."
        )
    kinds = Counter(name.rpartition(".")[2] if "." in name else "names without extension" for name in names)
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_SHOWN))
    if len(names) <= _SHOWN and not any("." in name for name in names):
        return f"It holds {', '.join(names)}; expected an array for each video, by id."
    close = difflib.get_close_matches(video_ids[0], names, n=1, cutoff=0.3) or [names[0]]
    return f"It holds {len(names):,} names ({counted}); the nearest to {video_ids[0]} is {close[0]}."


def joined_source(entry: str) -> tuple[Path, ImportLayout, str | None]:
    """Path, layout and pattern of an entry of `join`, such as ``slowfast`` or ``flow.h5/{id}/flow``."""
    parts = Path(entry).parts
    cut = len(parts)
    if ID in entry:
        cut = next((n for n in range(len(parts) - 1, 0, -1) if Path(*parts[:n]).exists()), len(parts))
    path = Path(*parts[:cut])
    return path, "hdf5" if path.is_file() else "npy_folder", "/".join(parts[cut:]) or None
