"""Checksums inside the HDF5 files that we write, so that one that was altered later is found.

HDF5 itself refuses a cut file but does not notice altered bytes. So the datasets and groups of every video carry the
SHA-256 of their content, and the file one of its attributes and of all those checksums. A reader checks the video that
it reads, and a whole file can be checked without knowledge of its purpose.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

_OF_NODE, _OF_FILE = "sha256", "contents_sha256"
_READ_BYTES = 8 << 20
# Errors of h5py and of our readers over altered bytes: an object may have another kind (AttributeError) or claim any
# size (MemoryError, OverflowError).
UNREADABLE = (
    *(OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError),
    *(MemoryError, ArithmeticError, AssertionError),
)


def seal(node: h5py.Dataset | h5py.Group) -> None:
    """Write the checksum of a complete dataset, or of a complete group, into its attributes."""
    node.attrs[_OF_NODE] = _digest(node)


def seal_file(file: h5py.File) -> None:
    """Write the checksums of a complete file: of the members of its groups (two levels deep), and of the whole.

    Existing checksums, copied from other files, are kept. Links to other files count by their targets.
    """
    for _, node in _nodes(file):
        if isinstance(node, h5py.Dataset | h5py.Group) and _OF_NODE not in node.attrs:
            seal(node)
    file.attrs[_OF_FILE] = _contents(file)


def is_sealed(file: h5py.File) -> bool:
    """Whether a file has checksums; files of earlier versions and of other programs have none."""
    return _OF_FILE in file.attrs


def lost_its_seal(file: h5py.File) -> bool:
    """Whether a file has checksums of its parts but none of the whole, as when that attribute's name was altered."""
    return not is_sealed(file) and any(
        isinstance(node, h5py.Dataset | h5py.Group) and _OF_NODE in node.attrs for _, node in _nodes(file)
    )


def node_is_altered(node: h5py.Dataset | h5py.Group) -> bool:
    """Whether a dataset or group differs from its checksum or cannot be read; False without a checksum."""
    try:
        return _OF_NODE in node.attrs and node.attrs[_OF_NODE] != _digest(node)
    except UNREADABLE:
        return True


def read_sealed(dataset: h5py.h5d.DatasetID) -> tuple[np.ndarray, str, bool]:
    """Content of a dataset in one read, its checksum, and whether that is another than was written there.

    By the low level: a data set has thousands of small videos, and `h5py.Dataset` takes longer than to read one.
    """
    content = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, content)
    digest = _digest(h5py.Dataset(dataset), content)
    return content, digest, _written(dataset) not in (None, digest)


def contents_are_altered(file: h5py.File) -> bool:
    """Whether attributes, names or checksums of a file have changed since it was sealed; no data is read."""
    return is_sealed(file) and file.attrs[_OF_FILE] != _contents(file)


def altered(file: h5py.File) -> list[str]:
    """The altered parts of a file, such as ``features/3MSZA``; ``contents`` for its list of parts. Ignores links."""
    try:
        found = ["contents"] if contents_are_altered(file) else []
        found += [name for name in file if isinstance(file[name], h5py.Group) and node_is_altered(file[name])]
        nodes = [(name, node) for name, node in _nodes(file) if not isinstance(node, tuple)]
    except UNREADABLE:
        return ["contents"]
    return found + [name for name, node in nodes if node_is_altered(node)]


def links_of(file: h5py.File) -> set[str]:
    """The targets of a file's links to other files, as written in the links."""
    return {node[0] for _, node in _nodes(file) if isinstance(node, tuple)}


def _nodes(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Name and object of everything at the second level, and of datasets at the first; the target of a link."""
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


def _written(dataset: h5py.h5d.DatasetID) -> str | None:
    """The checksum in its attributes."""
    key = _OF_NODE.encode()
    if not h5py.h5a.exists(dataset, key):
        return None
    value = np.empty((), dtype=object)
    h5py.h5a.open(dataset, key).read(value)
    return value.item().decode() if isinstance(value.item(), bytes) else str(value)


def _digest(node: h5py.Dataset | h5py.Group, content: np.ndarray | None = None) -> str:
    """Of a dataset whose content has been read, that is taken instead of reading it again."""
    digest = hashlib.sha256()
    _add_attributes(digest, node)
    if isinstance(node, h5py.Group):
        for name in sorted(node):
            digest.update(f"{name}\0{_digest(node[name])}\n".encode())
        return digest.hexdigest()
    kind = (node if content is None else content).dtype
    digest.update(f"{kind.str}{node.shape if content is None else content.shape}".encode())
    if kind.hasobject:  # texts
        digest.update(json.dumps(node.asstr()[()].tolist()).encode())
    elif content is not None:
        digest.update(np.ascontiguousarray(content).data)
    elif not node.shape:
        digest.update(node[()].tobytes())
    elif node.size:
        rows = max(1, _READ_BYTES * node.shape[0] // max(1, node.nbytes))
        for begin in range(0, node.shape[0], rows):
            digest.update(np.ascontiguousarray(node[begin : begin + rows]).data)
    return digest.hexdigest()


def _add_attributes(digest: Any, node: h5py.File | h5py.Dataset | h5py.Group) -> None:
    names: list[str] = []
    h5py.h5a.iterate(node.id, lambda name, *_: names.append(name.decode("utf-8", "surrogateescape")))
    for name in sorted(names):
        if name not in (_OF_NODE, _OF_FILE):
            value = node.attrs[name]
            text = json.dumps(value.tolist() if isinstance(value, np.ndarray | np.generic) else value, default=str)
            digest.update(f"{name}={text}\n".encode())
