"""Process that runs stages in forks of itself, so that a test can kill one without waiting for its imports.

One request a line, JSON with `stage`, `log`, `stderr`, `limit_bytes` (of any file written; 0: none), `obey` (the
permissions of files, which root need not), `environment` and the stage's options; the answers are the fork's process
id and, when it has ended, its exit code. Every video that a stage begins to work on is a line of the log. The
extractor is a stand-in that costs nothing: what is tried is everything around it.
"""

import ctypes
import json
import os
import resource
import sys
import traceback
from pathlib import Path

import torch
from torch import nn

from vmr.config.feature_sections import ExtractorSettings
from vmr.config.sections import VideoSettings
from vmr.errors import VmrError
from vmr.features import extract, read_ahead
from vmr.features.extractors import Extractor
from vmr.features.networks import Network
from vmr.video import decode, probe

STAGES = {"probe": probe.probe_videos, "decode": decode.decode_frames, "extract": extract.extract_shard}


class Moments(nn.Module):
    """A few numbers out of a clip that depend on all of its frames."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        flat = clips.float().flatten(1)
        return torch.stack([flat.mean(1), flat.std(1), (flat * torch.arange(flat.shape[1])).mean(1)], dim=1)


def build(name: str, settings: ExtractorSettings, *, device: torch.device) -> Extractor:
    network = Network(Moments(), nn.Identity(), 3, None, None, 32, {"weights": {"sha256": "0" * 64}})
    return Extractor(network, settings, name="stand-in", device=device, dtype=torch.float32)


def note_work(log: Path) -> None:
    """Write down each video whose decoding or whose way through the network begins."""

    def begin(video_id: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{video_id}\n")

    decode_video, frames = decode.decode_video, read_ahead.Piece.frames

    def noted_decode(helpers: object, picture: object, **options: object) -> object:
        begin(picture.path.stem)
        return decode_video(helpers, picture, **options)

    def noted_frames(piece: object) -> torch.Tensor:
        begin(piece.video_id)
        return frames(piece)

    decode.decode_video, read_ahead.Piece.frames = noted_decode, noted_frames
    extract.build_extractor = build


def obey_permissions() -> None:
    """Give up what lets root, and programs that it starts, ignore the permissions of files; Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)
    overriding = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in overriding:
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for index in range(3):  # effective, permitted, inheritable
        sets[index] &= ~sum(1 << capability for capability in overriding)
    libc.capset(header, sets)


def run(
    stage: str, log: str, limit_bytes: int, obey: bool, environment: dict[str, str], options: dict[str, object]
) -> int:
    note_work(Path(log))
    os.environ.update(environment)
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    if obey:
        obey_permissions()
    files = ("manifest", "output", "decoded_manifest", "frames", "statuses", "moments", "videos")
    options = {name: Path(value) if name in files else value for name, value in options.items()}
    section = ExtractorSettings if stage == "extract" else VideoSettings
    own = {name: options.pop(name) for name in list(options) if name in section.model_fields}
    options["settings"] = section(**own)
    try:
        STAGES[stage](**options)
    except VmrError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                with open(request.pop("stderr"), "w") as messages:  # noqa: PTH123
                    os.dup2(messages.fileno(), 2)
                torch.set_num_threads(1)
                code = run(**request)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
