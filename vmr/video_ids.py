"""One rule for the names of videos: in annotations, predictions and features, on disk, in uploads and in queries by id.

An id is the name of a file in composed letters (NFC), without folders and without the extension of a video. The
extension stays part of ids only where one dataset names two files of one stem, such as `clip.mp4` and `clip.mkv`.
"""

import difflib
import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from vmr.names import VIDEO_EXTENSIONS

_WATCHED = re.compile(
    r"\bwatch\?(?:.*&)?v=([^&#/\\]+)"
)  # of an address of YouTube, whose videos are named by what follows
_EXTENSIONS = frozenset(VIDEO_EXTENSIONS)


def plain_name(written: str) -> str:
    r"""A name without folders and blanks around it, in composed letters; of an address its last part, or YouTube's id.

    >>> plain_name("videos/3MSZA.mp4"), plain_name("C:\\films\\a.mp4"), plain_name("cafe\u0301")
    ('3MSZA.mp4', 'a.mp4', 'café')
    """
    name = written.strip()
    if watched := _WATCHED.search(name):
        name = watched[1]
    elif "://" in name:
        name = unquote(name if name.startswith("file:") else re.split(r"[?#]", name)[0])
    if not name.isascii():
        # Marks without width come along when names are copied; joiners are part of words and emoji.
        name = "".join(sign for sign in name if unicodedata.category(sign) != "Cf" or sign in "\u200c\u200d")
        name = unicodedata.normalize("NFC", name)
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].strip()


def extension_of(name: str) -> str:
    """The extension of a video at the end of a name, in small letters; else nothing.

    >>> extension_of("a.MP4"), extension_of("NUsG9BgSes0_210.0_360.0"), extension_of(".mp4")
    ('.mp4', '', '')
    """
    stem, dot, end = name.rpartition(".")
    extension = f"{dot}{end.lower()}"
    return extension if stem and extension in _EXTENSIONS else ""


def stem_of(name: str) -> str:
    """The id that a name means where no other file of a dataset has the same stem.

    >>> stem_of("videos/3MSZA.mp4"), stem_of("3MSZA"), stem_of("a film .mp4")
    ('3MSZA', '3MSZA', 'a film')
    """
    plain = plain_name(name)
    extension = extension_of(plain)
    return plain[: len(plain) - len(extension)].rstrip() if extension else plain


def shard_of(video_id: str, shards: int) -> int:
    """Number of the shard, from 0 to `shards` - 1, that a video belongs to.

    A hash of the id, not its rank: an added video touches its own shard only.

    >>> shard_of("3MSZA", 1)
    0
    """
    return int.from_bytes(hashlib.sha256(video_id.encode("utf-8", "surrogateescape")).digest()[:8], "big") % shards


def settle(written: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The id of each name that a dataset's annotations use; and by name why others have none.

    Of two names that differ in their folders only the second has none: one id would stand for two videos.

    >>> settle(["a.mp4", "a", "b.mp4", "b.mkv"])
    ({'a.mp4': 'a', 'a': 'a', 'b.mp4': 'b.mp4', 'b.mkv': 'b.mkv'}, {})
    """
    names = list(dict.fromkeys(written))
    plain = {name: plain_name(name) for name in names}
    extensions: dict[str, set[str]] = {}
    for name in plain.values():
        if extension := extension_of(name):
            extensions.setdefault(stem_of(name), set()).add(extension)
    ids: dict[str, str] = {}
    refused: dict[str, str] = {}
    folders: dict[str, tuple[str, str]] = {}
    for name in names:
        stem = stem_of(plain[name])
        kept = len(extensions.get(stem, ())) > 1 and extension_of(plain[name])
        own = f"{stem}{extension_of(plain[name])}" if kept else stem
        parts = unicodedata.normalize("NFC", name.strip()).replace("\\", "/").split("/")[:-1]
        folder = "".join(f"/{part}" for part in parts if part not in ("", ".", ".."))
        before, first = folders.setdefault(own, (folder, name))
        if not (before.endswith(folder) or folder.endswith(before)):
            refused[name] = (
                f"{first} and {name} are two files of one name; ids are names without folders. Give one of the files "
                "another name"
            )
            continue
        ids[name] = own
        if len(folder) > len(before):
            folders[own] = (folder, name)
    return ids, refused


class VideoNames:
    """Finds the id that a name means, however it is written."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = dict.fromkeys(ids)
        self._plain: dict[str, list[str]] = {}
        for own in self._ids:
            for key in {plain_name(own), stem_of(own)}:
                self._plain.setdefault(key, []).append(own)

    def find(self, written: str) -> str | None:
        """The id that is meant; None where there is none, or more than one.

        >>> VideoNames(["3MSZA"]).find("videos/3MSZA.mp4")
        '3MSZA'
        """
        found = [written] if written in self._ids else self.find_all(written)
        return found[0] if len(found) == 1 else None

    def find_all(self, written: str) -> list[str]:
        """All ids that may be meant.

        >>> VideoNames(["a", "a.mp4", "b.mp4"]).find_all("a")
        ['a', 'a.mp4']
        """
        plain = plain_name(written)
        for key in (plain, stem_of(plain)):
            found = self._plain.get(key, [])
            if extension_of(plain):  # b.mkv is not b.mp4
                found = [own for own in found if extension_of(own) in ("", extension_of(plain))]
            if found:
                return found
        return []

    def nearest(self, written: str) -> str:
        """End of a message: the id that may be meant; case, separators and leading zeros first.

        >>> VideoNames(["clip-007"]).nearest("Clip_7")
        ' (is it clip-007?)'
        """
        wanted = _alike(stem_of(written))
        close = [wanted] if wanted in self._alike else difflib.get_close_matches(wanted, self._alike, n=1)
        return f" (is it {self._alike[close[0]]}?)" if close else ""

    @functools.cached_property
    def _alike(self) -> dict[str, str]:
        return {_alike(own): own for own in self._ids}


def _alike(name: str) -> str:
    """Name without what is easily mistaken.

    >>> _alike("Clip-007"), _alike("clip_7")
    ('clip7', 'clip7')
    """
    return re.sub(r"[\W_]+", "", re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold()))
