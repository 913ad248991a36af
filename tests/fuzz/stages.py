"""A stage over a folder of hostile files, in a process of its own, with a line of a log for each video."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def timed(function: Any, log: Path, video: Any) -> Any:
    """The function, with a line of the log for each call."""

    def call(*given: Any, **named: Any) -> Any:
        begin = time.monotonic()
        try:
            return function(*given, **named)
        finally:
            end = time.monotonic()
            entry = {"video": video(*given), "begin": begin, "end": end, "seconds": end - begin}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    return call


def run(stage: str, folder: Path, log: Path) -> None:
    # Imported where they are used, as the commands do it: torch alone takes hundreds of megabytes.
    from vmr.config.sections import VideoSettings

    if stage == "probe":
        from vmr.video import probe

        probe.probe_video = timed(probe.probe_video, log, lambda path: path.stem)
        probe.probe_videos(
            moments=folder / "moments.csv",
            videos=folder / "videos",
            shard=0,
            shards=1,
            output=folder / "videos.csv",
            settings=VideoSettings(probe_timeout_sec=10),
        )
    elif stage == "decode":
        from vmr.video import decode

        settings = VideoSettings(short_side=64, decode_timeout_sec=20, max_failed_share=1.0)
        decode._decode_one = timed(decode._decode_one, log, lambda row, *rest: row["video_id"])
        decode.decode_frames(
            manifest=folder / "videos.csv",
            output=folder / "frames.h5",
            decoded_manifest=folder / "frames.csv",
            settings=settings,
        )
    else:
        from faults import stage_runner

        from vmr.config.feature_sections import ExtractorSettings
        from vmr.features import extract
        from vmr.video.manifest import DECODED_COLUMNS, read_manifest, write_manifest

        rows = read_manifest([folder / "frames.csv"])
        write_manifest(rows.iloc[::10].to_dict("records"), folder / "tenth.csv", columns=DECODED_COLUMNS)
        extract.build_extractor = stage_runner.build
        extract.extract_shard(
            frames=folder / "frames.h5",
            manifest=folder / "tenth.csv",
            output=folder / "features.h5",
            statuses=folder / "features.csv",
            extractor="i3d",
            settings=ExtractorSettings(weights="./none", window=8, stride=4, max_failed_share=0.0),
            code_digest="",
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
