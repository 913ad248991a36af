"""Checksums inside the HDF5 files that we write, so that one that was altered later is found.

HDF5 itself refuses a file that was cut, and says nothing of altered bytes. So the datasets and groups of every video
carry the SHA-256 of what they hold, and the file one of its attributes and of all those checksums: a reader checks the
video that it reads, and a whole file is checked without knowing what it is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

_OF_NODE, _OF_FILE = "sha256", "contents_sha256"
_READ_BYTES = 8 << 20
# What h5py, and what reads its values, raise for files with altered bytes: an object may turn out to be of another kind
# (AttributeError) or to claim any size (MemoryError, OverflowError).
UNREADABLE = (
    *(OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError),
    *(MemoryError, ArithmeticError, AssertionError),
)


def seal(node: h5py.Dataset | h5py.Group) -> None:
    """Note the checksum of a dataset, or of a group with all in it, among its attributes. Call it when it is filled."""
    node.attrs[_OF_NODE] = _digest(node)


def seal_file(file: h5py.File) -> None:
    """Note the checksums of a file that is complete: of what lies in its groups (two levels deep), and of the whole.

    What has a checksum already, since it was copied from a file that had, keeps it. Links to other files count by
    where they lead to.
    """
    for _, node in _nodes(file):
        if isinstance(node, h5py.Dataset | h5py.Group) and _OF_NODE not in node.attrs:
            seal(node)
    file.attrs[_OF_FILE] = _contents(file)


def is_sealed(file: h5py.File) -> bool:
    """Whether a file has checksums: those of earlier versions of this program, and of others, have none."""
    return _OF_FILE in file.attrs


def lost_its_seal(file: h5py.File) -> bool:
    """Whether a file has checksums of its parts and none of the whole, as when that one's name was altered."""
    return not is_sealed(file) and any(
        isinstance(node, h5py.Dataset | h5py.Group) and _OF_NODE in node.attrs for _, node in _nodes(file)
    )


def node_is_altered(node: h5py.Dataset | h5py.Group) -> bool:
    """Whether a dataset or group holds something else than its checksum says, or cannot be read any more.

    Without a checksum it cannot be told.
    """
    try:
        return _OF_NODE in node.attrs and node.attrs[_OF_NODE] != _digest(node)
    except UNREADABLE:
        return True


def contents_are_altered(file: h5py.File) -> bool:
    """Whether attributes, names or checksums of a file are others than when it was sealed; no data is read."""
    return is_sealed(file) and file.attrs[_OF_FILE] != _contents(file)


def altered(file: h5py.File) -> list[str]:
    """What of a file is not as it was written, such as ``features/3MSZA``; ``contents`` for the list of all that.

    Links are not followed.
    """
    try:
        found = ["contents"] if contents_are_altered(file) else []
        found += [name for name in file if isinstance(file[name], h5py.Group) and node_is_altered(file[name])]
        nodes = [(name, node) for name, node in _nodes(file) if not isinstance(node, tuple)]
    except UNREADABLE:
        return ["contents"]
    return found + [name for name, node in nodes if node_is_altered(node)]


def links_of(file: h5py.File) -> set[str]:
    """Files that a file links to, as the links name them."""
    return {node[0] for _, node in _nodes(file) if isinstance(node, tuple)}


def _nodes(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Name and object of everything at the second level, and of datasets at the first; of a link, where it leads to."""
    for name in sorted(file):
        top = file[name]
        if isinstance(top, h5py.Dataset):
            yield name, top
            continue
        links = top.id.links
        for member in sorted(top):
            key = member.encode("utf-8")
            kind = links.get_info(key).type
            if kind == h5py.h5l.TYPE_HARD:
                yield f"{name}/{member}", top[member]
            else:
                target = links.get_val(key)
                target = target if isinstance(target, tuple) else ("", target)
                yield f"{name}/{member}", tuple(part if isinstance(part, str) else part.decode() for part in target)


def _contents(file: h5py.File) -> str:
    digest = hashlib.sha256()
    _add_attributes(digest, file)
    for name, node in _nodes(file):
        known = "\0".join(node) if isinstance(node, tuple) else str(node.attrs.get(_OF_NODE, ""))
        digest.update(f"{name}\0{known}\n".encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()


def _digest(node: h5py.Dataset | h5py.Group) -> str:
    digest = hashlib.sha256()
    _add_attributes(digest, node)
    if isinstance(node, h5py.Group):
        for name in sorted(node):
            digest.update(f"{name}\0{_digest(node[name])}\n".encode())
        return digest.hexdigest()
    digest.update(f"{node.dtype.str}{node.shape}".encode())
    if node.dtype.hasobject:  # texts
        digest.update(json.dumps(node.asstr()[()].tolist()).encode())
    elif not node.shape:
        digest.update(node[()].tobytes())
    elif node.size:
        rows = max(1, _READ_BYTES * node.shape[0] // max(1, node.nbytes))
        for begin in range(0, node.shape[0], rows):
            digest.update(np.ascontiguousarray(node[begin : begin + rows]).data)
    return digest.hexdigest()


def _add_attributes(digest: Any, node: h5py.File | h5py.Dataset | h5py.Group) -> None:
    for name in sorted(node.attrs):
        if name not in (_OF_NODE, _OF_FILE):
            value = node.attrs[name]
            text = json.dumps(value.tolist() if isinstance(value, np.ndarray | np.generic) else value, default=str)
            digest.update(f"{name}={text}\n".encode())
