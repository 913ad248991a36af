"""Reads one column of text from a Parquet file, as much of the format as the package of GloVe vectors uses.

A reader of the whole format is a dependency ten times the size of the file. Implemented after the public
specifications of Parquet (format 2: plain and dictionary pages, version 1 data pages), Thrift's compact protocol and
Snappy's block format. The caller checks the hash of the file, so that the input is known.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from vmr.errors import AssetError

_MAGIC = b"PAR1"
_UNCOMPRESSED, _SNAPPY = 0, 1
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_BYTE_ARRAY = 6


def read_text_column(path: Path | str) -> list[str]:
    """The values of the only column of a Parquet file of UTF-8 text without missing values.

    Args:
        path: the file.

    Returns:
        The values in the order of the rows.

    Raises:
        AssetError: not a Parquet file, damaged, or it uses a part of the format that this reader does not know.
    """
    data = Path(path).read_bytes()
    try:
        return [value.decode("utf-8") for value in _read_column(data)]
    except (ValueError, IndexError, KeyError, struct.error, RecursionError) as error:
        raise AssetError(
            f"{path}: cannot be read as one Parquet column of text ({error}). Install the package that it belongs to "
            "again."
        ) from error


def _read_column(data: bytes) -> list[bytes]:
    if len(data) < 12 or data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("no Parquet file")
    footer_length = int.from_bytes(data[-8:-4], "little")
    footer, _ = _Thrift(data, len(data) - 8 - footer_length).struct()
    _, *columns = footer[2]
    if len(columns) != 1 or columns[0].get(1) != _BYTE_ARRAY:
        raise ValueError("expected one column of byte arrays")
    optional = columns[0].get(3, 0) == 1
    values: list[bytes] = []
    for row_group in footer[4]:
        (chunk,) = row_group[1]
        values += _read_chunk(data, chunk[3], optional=optional)
    if len(values) != footer[3]:
        raise ValueError(f"{footer[3]} rows announced, {len(values)} found")
    return values


def _read_chunk(data: bytes, column: dict[int, Any], *, optional: bool) -> list[bytes]:
    codec, count = column[4], column[5]
    if codec not in (_UNCOMPRESSED, _SNAPPY):
        raise ValueError(f"compression {codec} is not known")
    position = column.get(11, column[9])
    dictionary: list[bytes] = []
    values: list[bytes] = []
    while len(values) < count:
        header, position = _Thrift(data, position).struct()
        body = data[position : position + header[3]]
        position += header[3]
        page = _unsnap(body) if codec == _SNAPPY else body
        if len(page) != header[2]:
            raise ValueError(f"a page of {header[2]} bytes announced, {len(page)} found")
        if header[1] == _DICTIONARY_PAGE:
            dictionary = _plain(page, 0, header[7][1])
        elif header[1] == _DATA_PAGE:
            values += _data_page(page, header[5], dictionary, optional=optional)
        else:
            raise ValueError(f"page type {header[1]} is not known")
    return values


def _data_page(page: bytes, header: dict[int, Any], dictionary: list[bytes], *, optional: bool) -> list[bytes]:
    count, encoding = header[1], header[2]
    start = 0
    if optional:
        length = int.from_bytes(page[:4], "little")
        if any(level != 1 for level in _runs(page[4 : 4 + length], 1, count)):
            raise ValueError("missing values")
        start = 4 + length
    if encoding == _PLAIN:
        return _plain(page, start, count)
    if encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
        return [dictionary[index] for index in _runs(page[start + 1 :], page[start], count)]
    raise ValueError(f"encoding {encoding} is not known")


def _plain(page: bytes, start: int, count: int) -> list[bytes]:
    values = []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", page, start)
        value = page[start + 4 : start + 4 + length]
        if len(value) != length:
            raise ValueError("a value is cut off")
        values.append(value)
        start += 4 + length
    return values


def _runs(data: bytes, width: int, count: int) -> list[int]:
    """Parquet's hybrid of run lengths and packed groups of eight numbers of `width` bits."""
    values: list[int] = []
    position = 0
    while len(values) < count:
        header, position = _varint(data, position)
        if header & 1:
            mask = (1 << width) - 1
            # Eight at a time: shifting one long integer for every number would be quadratic.
            for _ in range(header >> 1):
                packed = int.from_bytes(data[position : position + width], "little")
                values.extend((packed >> (width * place)) & mask for place in range(8))
                position += width
        else:
            length = (width + 7) // 8
            value = int.from_bytes(data[position : position + length], "little")
            values.extend([value] * (header >> 1))
            position += length
    return values[:count]


def _unsnap(data: bytes) -> bytes:
    """Decompress one block of Snappy."""
    size, position = _varint(data, 0)
    out = bytearray()
    while position < len(data):
        tag = data[position]
        kind, position = tag & 3, position + 1
        if kind == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(data[position : position + extra], "little")
                position += extra
            length += 1
            out += data[position : position + length]
            position += length
            continue
        if kind == 1:
            length = ((tag >> 2) & 7) + 4
            offset = ((tag >> 5) << 8) | data[position]
            position += 1
        else:
            length = (tag >> 2) + 1
            width = 2 if kind == 2 else 4
            offset = int.from_bytes(data[position : position + width], "little")
            position += width
        if not 0 < offset <= len(out):
            raise ValueError("a copy reaches before the beginning")
        start = len(out) - offset
        if offset >= length:
            out += out[start : start + length]
        else:
            # The copy overlaps itself: its source is the repetition of the last `offset` bytes.
            out += (out[start:] * (length // offset + 1))[:length]
    if len(out) != size:
        raise ValueError(f"{size} bytes announced, {len(out)} found")
    return bytes(out)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


class _Thrift:
    """Thrift's compact protocol: a struct becomes a dictionary by field number."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def struct(self) -> tuple[dict[int, Any], int]:
        fields: dict[int, Any] = {}
        number = 0
        while True:
            header = self._byte()
            if header == 0:
                return fields, self.position
            number = number + (header >> 4) if header >> 4 else self._zigzag()
            kind = header & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 8:
            length = self._varint()
            self.position += length
            return self.data[self.position - length : self.position]
        if kind in (9, 10):
            header = self._byte()
            length, element = header >> 4, header & 15
            if length == 15:
                length = self._varint()
            return [self._byte() == 1 if element in (1, 2) else self._value(element) for _ in range(length)]
        if kind == 12:
            return self.struct()[0]
        if kind == 3:
            return self._byte()
        raise ValueError(f"field of type {kind} is not known")

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _varint(self) -> int:
        value, self.position = _varint(self.data, self.position)
        return value

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
