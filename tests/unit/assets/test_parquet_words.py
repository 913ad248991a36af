import struct

import pytest

from vmr.assets.packages import installed_path
from vmr.assets.parquet_words import _runs, _unsnap, read_text_column
from vmr.assets.registry import get_asset
from vmr.errors import AssetError


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def thrift(fields):
    """Compact encoding of {number: value}: int -> i32, bytes -> binary, dict -> struct, list -> list of structs."""
    out = bytearray()
    last = 0
    for number, value in sorted(fields.items()):
        kind = {int: 5, bytes: 8, list: 9, dict: 12}[type(value)]
        out.append((number - last) << 4 | kind)
        last = number
        if kind == 5:
            out += varint(value << 1 ^ (value >> 63))
        elif kind == 8:
            out += varint(len(value)) + value
        elif kind == 9:
            out += bytes([len(value) << 4 | 12]) + b"".join(thrift(entry) for entry in value)
        else:
            out += thrift(value)
    return bytes([*out, 0])


def plain(values):
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def literal(data):
    """Snappy without any copy: literals of at most 60 bytes."""
    pieces = [data[start : start + 60] for start in range(0, len(data), 60)]
    return varint(len(data)) + b"".join(bytes([(len(piece) - 1) << 2]) + piece for piece in pieces)


def parquet(pages, *, rows, codec=0, optional=True, dictionary=False, kind=6):
    body = b"PAR1"
    for page_type, header, raw in pages:
        packed = literal(raw) if codec == 1 else raw
        fields = {1: page_type, 2: len(raw), 3: len(packed), (7 if page_type == 2 else 5): header}
        body += thrift(fields) + packed
    column = {1: kind, 4: codec, 5: rows, 6: 0, 7: 0, 9: 4}
    if dictionary:
        column[11] = 4
    schema = [{4: b"schema", 5: 1}, {1: kind, 3: int(optional), 4: b"word"}]
    footer = thrift({1: 2, 2: schema, 3: rows, 4: [{1: [{2: 0, 3: column}]}]})
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def levels(count):
    run = varint(count << 1) + b"\x01"
    return struct.pack("<I", len(run)) + run


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("optional", [False, True])
def test_plain_pages(tmp_path, codec, optional):
    words = ["the", "café", "", "x" * 200]
    page = (levels(4) if optional else b"") + plain(words)
    path = tmp_path / "w.parquet"
    path.write_bytes(parquet([(0, {1: 4, 2: 0}, page)], rows=4, codec=codec, optional=optional))
    assert read_text_column(path) == words


def test_dictionary_then_plain_pages(tmp_path):
    """Three words by index (a run of the second, then a packed group), then two in full."""
    indices = bytes([2]) + varint(2 << 1) + b"\x01" + varint(1 << 1 | 1) + bytes([0b00000010, 0])
    pages = [
        (2, {1: 3, 2: 0}, plain(["a", "b", "c"])),
        (0, {1: 4, 2: 8}, levels(4) + indices),
        (0, {1: 2, 2: 0}, levels(2) + plain(["d", "e"])),
    ]
    path = tmp_path / "w.parquet"
    path.write_bytes(parquet(pages, rows=6, codec=1, dictionary=True))
    assert read_text_column(path) == ["b", "b", "c", "a", "d", "e"]


def test_packed_numbers_are_those_of_the_specification():
    """Apache Parquet, Encodings.md: the numbers 0 to 7 with three bits are 10001000 11000110 11111010."""
    assert _runs(bytes([1 << 1 | 1, 0b10001000, 0b11000110, 0b11111010]), 3, 8) == list(range(8))


def test_snappy_copies():
    """Hand-assembled after the format description: literal, overlapping copy of one-byte offset, two-byte offset."""
    assert _unsnap(bytes([2 + 6, 0b00000100]) + b"ab" + bytes([0b00001001, 2])) == b"abababab"
    one_byte = bytes([10, (3 - 1) << 2]) + b"xyz" + bytes([(7 - 4) << 2 | 1, 3])
    assert _unsnap(one_byte) == b"xyzxyzxyzx"
    long_literal = bytes(range(256)) * 2
    assert _unsnap(varint(512) + bytes([61 << 2]) + struct.pack("<H", 511) + long_literal) == long_literal
    four_byte = bytes([4, (2 - 1) << 2]) + b"hi" + bytes([(2 - 1) << 2 | 3]) + struct.pack("<I", 2)
    assert _unsnap(four_byte) == b"hihi"


@pytest.mark.parametrize("block", [bytes([5, 0]) + b"a", bytes([4, 0]) + b"a" + bytes([0b00001001, 9]), b""])
def test_damaged_snappy_is_refused(block):
    with pytest.raises((ValueError, IndexError)):
        _unsnap(block)


def test_what_the_reader_does_not_know_is_refused(tmp_path):
    path = tmp_path / "w.parquet"
    page = (0, {1: 1, 2: 0}, levels(1) + plain(["a"]))
    good = parquet([page], rows=1)
    wrong = {
        "no Parquet": b"PAR1 this is not it PAR2",
        "compression 6": parquet([page], rows=1, codec=6),
        "expected one column of byte arrays": parquet([page], rows=1, kind=1),
        "encoding 5": parquet([(0, {1: 1, 2: 5}, levels(1) + plain(["a"]))], rows=1),
        "page type 3": parquet([(3, {1: 1, 2: 0}, b"x")], rows=1),
        "missing values": parquet([(0, {1: 1, 2: 0}, struct.pack("<I", 2) + b"\x02\x00")], rows=1),
        "cut off": parquet([(0, {1: 1, 2: 0}, levels(1) + plain(["abc"])[:-1])], rows=1),
    }
    for message, content in wrong.items():
        path.write_bytes(content)
        with pytest.raises(AssetError, match=message):
            read_text_column(path)
    path.write_bytes(good)
    assert read_text_column(path) == ["a"]


def test_the_words_of_the_package():
    path = installed_path(get_asset("glove_6b_50d"), "words")
    if path is None:
        pytest.skip("the package of word vectors (envs/assets.txt) is not installed")
    words = read_text_column(path)
    assert words[:6] == ["the", ",", ".", "of", "to", "and"]
    assert words[-1] == "sandberger"
    assert len(words) == len(set(words)) == 400_000
