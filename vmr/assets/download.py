"""Downloads that resume, are checked, and get their name only when they are complete."""

import hashlib
import http.client
import json
import logging
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from vmr.errors import AssetError
from vmr.storage.files import sha256_file, write_text, writing
from vmr.storage.locks import turn

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ATTEMPTS = 4  # for each address, counted anew after an attempt that received bytes
_WAIT_SEC = 2.0  # before the second attempt; doubles each time
_TIMEOUT_SEC = 60.0  # longest time without a byte from the server
_FINAL_STATUSES = {400, 401, 403, 404, 405, 410, 451}


class _CutError(Exception):
    """The transfer stopped early, or the server was out of reach. Another attempt may succeed."""


class _OutOfReachError(_CutError):
    """There was no connection. Two attempts tell a machine without a network from a short failure."""


class _RefusedError(Exception):
    """This address refuses the file; another attempt is useless."""


@dataclass(frozen=True)
class _Expectation:
    sha256: str | None
    size_bytes: int | None


def download(
    addresses: Sequence[str],
    *,
    destination: Path,
    sha256: str | None = None,
    size_bytes: int | None = None,
) -> str:
    """Download a file and return its SHA-256; continue what an earlier call left in ``{destination}.part``.

    A second process that asks for the same file waits for the first. An existing file is checked and kept. Where no
    hash is known, that of the first download is kept in ``{destination}.sha256`` (the format of sha256sum) and
    checked from then on.

    Args:
        addresses: https addresses of the same file, tried in order (plain http only to this machine).

    Raises:
        AssetError: no address gave the file, or the content is not the expected one (it is removed).
        ShardError: the disk is full.
    """
    record = destination.with_name(destination.name + ".sha256")
    expected = _Expectation(sha256 or _recorded(record), size_bytes)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with turn(destination):
        if destination.exists():
            found = _check(destination, expected, remove=False)
        else:
            part = destination.with_name(destination.name + ".part")
            found = _from_any(addresses, part, expected)
            part.replace(destination)
            _resume_note(part).unlink(missing_ok=True)
        if sha256 is None and not record.exists():
            write_text(record, f"{found}  {destination.name}\n")
            logger.info("%s: no hash is published; %s is recorded and checked from now on", destination, found)
    return found


def _from_any(addresses: Sequence[str], part: Path, expected: _Expectation) -> str:
    failures: list[str] = []
    for address in addresses:
        _require_safe(address)
        left, wait = _ATTEMPTS, _WAIT_SEC
        while True:
            before = _size(part)
            try:
                resumed = _transfer(address, part, expected)
            except _RefusedError as error:
                failures.append(f"{address}: {error}")
                break
            except _CutError as error:
                if _size(part) > before:
                    left, wait = _ATTEMPTS, _WAIT_SEC
                left = min(left, 2) - 1 if isinstance(error, _OutOfReachError) else left - 1
                if left <= 0:
                    failures.append(f"{address}: {error}")
                    break
                logger.warning("%s: %s; trying again in %.0f s", address, error, wait)
                time.sleep(wait)
                wait *= 2
                continue
            try:
                return _check(part, expected, remove=True)
            except AssetError as error:
                if not resumed:
                    failures.append(f"{address}: {error}")
                    break
                # The two halves may be of different versions of the file: start again from the beginning.
                logger.warning("%s: the resumed file is not the expected one; downloading it anew", address)
    raise AssetError("; ".join(failures))


def _transfer(address: str, part: Path, expected: _Expectation) -> bool:
    """Load what `part` does not have yet; returns whether it began with bytes of an earlier attempt."""
    have = _size(part)
    note = _read_note(part)
    validator = note.get("validator") if note.get("address") == address else None
    # Without a validator only a known hash can tell whether two halves belong together.
    if have and not (validator or expected.sha256):
        have = 0
    request = urllib.request.Request(address, headers={"User-Agent": "vmr", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", str(validator))
    opener = urllib.request.build_opener(_SafeRedirects())
    try:
        with opener.open(request, timeout=_TIMEOUT_SEC) as response:
            start, total = _extent(response, have)
            if total is not None and expected.size_bytes not in (None, total):
                raise _RefusedError(f"{total:,} bytes are announced, expected {expected.size_bytes:,}")
            _write_note(part, address, response.headers)
            _copy(response, part, start=start, total=total)
            return start > 0
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # A part as long as the file is checked; a longer one is thrown away.
            if have == (expected.size_bytes or _total_of(error.headers)):
                return True
            part.unlink(missing_ok=True)
            raise _CutError("the part was longer than the file") from error
        if error.code in _FINAL_STATUSES:
            raise _RefusedError(f"HTTP status {error.code} ({error.reason})") from error
        raise _CutError(f"HTTP status {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        raise _OutOfReachError(f"cannot be reached ({error.reason})") from error
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise _CutError(f"the connection broke ({error or type(error).__name__})") from error


def _extent(response: Any, have: int) -> tuple[int, int | None]:
    """(first byte, length of the whole file or None) of what the server is about to send."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return 0, int(length) if length else None
    span = str(response.headers.get("Content-Range", "")).removeprefix("bytes ").partition("/")[0]
    if span.partition("-")[0] != str(have):
        raise _RefusedError(f"asked for the bytes from {have}, the server sent {span or 'others'}")
    return have, _total_of(response.headers)


def _copy(response: IO[bytes], part: Path, *, start: int, total: int | None) -> None:
    try:
        name = part.name.removesuffix(".part")
        with (
            part.open("ab" if start else "wb") as file,
            tqdm.wrapattr(file, "write", total, desc=name, initial=start, disable=None) as target,
        ):
            for chunk in iter(lambda: response.read(_CHUNK_BYTES), b""):
                with writing(part):
                    target.write(chunk)
                    file.flush()
    except http.client.IncompleteRead as error:
        raise _CutError(f"the connection broke after {_size(part):,} bytes") from error
    if total is not None and _size(part) < total:
        raise _CutError(f"the connection broke after {_size(part):,} of {total:,} bytes")


def _check(path: Path, expected: _Expectation, *, remove: bool) -> str:
    size, found = _size(path), sha256_file(path)
    if expected.size_bytes in (None, size) and expected.sha256 in (None, found):
        return found
    wanted = [f"{expected.size_bytes:,} bytes"] if expected.size_bytes is not None else []
    wanted += [f"SHA-256 {expected.sha256}"] if expected.sha256 is not None else []
    if remove:
        path.unlink()
        _resume_note(path).unlink(missing_ok=True)
        remedy = "It was removed. If this happens again, the file at that address has changed: do not use it."
    else:
        remedy = "Remove it to download it again."
    raise AssetError(f"{path}: expected {' and '.join(wanted)}, found {size:,} bytes and SHA-256 {found}. {remedy}")


def _require_safe(address: str) -> None:
    parts = urllib.parse.urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise AssetError(f"{address}: expected an address with https; only https is allowed.")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            _require_safe(newurl)
        except AssetError as error:
            raise _RefusedError(f"it redirects to {newurl}, which is not https") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _recorded(record: Path) -> str | None:
    if not record.exists():
        return None
    words = record.read_text(encoding="utf-8").split()
    if not words or len(words[0]) != 2 * hashlib.sha256().digest_size:
        raise AssetError(f"{record}: expected the line `sha256  file name`. Remove it to record the hash anew.")
    return words[0]


def _resume_note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, Any]:
    try:
        note = json.loads(_resume_note(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(part: Path, address: str, headers: Any) -> None:
    # A weak entity tag does not promise equal bytes.
    tag = headers.get("ETag")
    validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    _resume_note(part).write_text(json.dumps({"address": address, "validator": validator}), encoding="utf-8")


def _total_of(headers: Any) -> int | None:
    total = str(headers.get("Content-Range", "")).rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
