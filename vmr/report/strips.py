"""Film strips: a few small pictures of a video, as text that a page can hold."""

import base64
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmr.errors import ShardError
from vmr.video.frames import FrameStore

log = logging.getLogger(__name__)

HEIGHT = 180  # pixels: about 7 kB a picture, still sharp when it is enlarged
_QUALITY = 55
_AT_ONCE = 200  # frames between two pictures


def film_strips(stores: Sequence[Path], video_ids: Iterable[str], *, count: int) -> dict[str, dict[str, Any]]:
    """Pictures from the middle of equal parts of each video.

    Args:
        stores: frame stores, one a shard; those that are not there any more are passed over.

    Returns:
        By id, for videos that have frames: `duration_sec`, `times` (s) and `pictures`, WebP as data URIs.
    """
    wanted = sorted(set(video_ids)) if count else []
    strips: dict[str, dict[str, Any]] = {}
    for path in stores:
        if not path.exists() or len(strips) == len(wanted):
            continue
        with FrameStore(path) as store:
            for video_id in wanted:
                if video_id in store and video_id not in strips:
                    try:
                        strips[video_id] = _strip(store, video_id, count)
                    except ShardError as error:
                        log.warning("%s: no pictures (%s)", video_id, error)
    return strips


def _strip(store: FrameStore, video_id: str, count: int) -> dict[str, Any]:
    info = store.info(video_id)
    frames = [min(int((part + 0.5) / count * info.num_frames), info.num_frames - 1) for part in range(count)]
    # A start of the decoder costs as much as a hundred frames, and a picture half a group of frames besides.
    apart = [frames] if info.num_frames <= _AT_ONCE * count else [[frame] for frame in frames]
    pictures = [picture_uri(frame) for part in apart for frame in _frames(store, video_id, part)]
    times = [round(frame / info.fps, 2) for frame in frames]
    return {"duration_sec": round(info.duration_sec, 3), "times": times, "pictures": pictures}


def _frames(store: FrameStore, video_id: str, numbers: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Frames by their numbers, which rise, of one pass over what lies between them."""
    place = numbers[0]
    for array in store.read(video_id, start=place, stop=numbers[-1] + 1):
        yield from (array[number - place] for number in numbers if place <= number < place + len(array))
        place += len(array)


def picture_uri(frame: npt.NDArray[np.uint8]) -> str:
    """A frame, (H, W, 3) RGB, shrunk to `HEIGHT` and written as a data URI."""
    image = Image.fromarray(frame)
    size = (max(1, round(image.width * HEIGHT / image.height)), HEIGHT)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="WEBP", quality=_QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
