"""`vmr locate`: seconds of the first and of later questions to a video, and memory for ten seconds up to two hours.

    python benchmarks/locate.py --model model.safetensors --video clip.mp4 "a sentence" "another sentence"

Questions: processes of their own load the model and ask. Start-up (imports of torch and spaCy, loading the model) is
told apart from the answer: the first one makes the features, later ones find them on the disk or in memory. Medians.

Memory is that of the command and of all that it started, as in memory.py. Two hours at the model's own stride would
take hours on two cores; what lies in memory does not depend on how many windows follow, so that the long video is
asked with a copy of the model that looks at a window every 20 seconds, which is still enough for stretches. Minutes
are measured with the model as it is.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from i3d_speed import processor_name
from memory import SHORT_SEC, render, watch

from vmr.locate.model_file import read_model, write_model
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions

SPARSE_STRIDE = 480
LONG_STEPS = 7200 * 3
ASK = """
import json, sys, time
model, cache, video, *queries = sys.argv[1:]
times = [time.perf_counter()]
from vmr.locate.locator import Locator
from vmr.queries.tokenize import tokenize
tokenize("spaCy is imported by the first sentence")
times.append(time.perf_counter())
locator = Locator.load(model, cache=cache, device="cpu")
times.append(time.perf_counter())
for query in queries:
    locator.locate(video, query)
    times.append(time.perf_counter())
print(json.dumps([after - before for before, after in zip(times, times[1:])]))
"""
# Random features in place of those of two hours at the model's own stride: what a question costs once they are made.
LONG = """
import json, sys, time
from pathlib import Path
import numpy as np
from vmr.features.store import VideoFeatures
from vmr.locate.locator import Locator
from vmr.queries.tokenize import tokenize
model, cache, video, steps, *queries = sys.argv[1:]
tokenize("spaCy is imported by the first sentence")
locator = Locator.load(model, cache=cache, device="cpu")
edges = np.arange(int(steps) + 1) / 3
rows = np.random.default_rng(0).normal(size=(int(steps), locator.model.info["features"]["dim"])).astype(np.float32)
locator._cache.put(locator._cache.content(Path(video)), VideoFeatures(rows, edges[:-1], edges[1:]))
found = []
for query in queries:
    begin = time.perf_counter()
    answer = locator.locate(video, query)
    found.append(time.perf_counter() - begin)
print(json.dumps([answer.stretches, *found]))
"""


def ask(model: Path, cache: Path, video: Path, queries: list[str]) -> list[float]:
    """Seconds of imports, loading, and each query, in a process of its own."""
    command = [sys.executable, "-c", ASK, str(model), str(cache), str(video), *queries]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_questions(model: Path, video: Path, queries: list[str], folder: Path, *, repeats: int) -> dict[str, object]:
    """Medians of what a first and a later question take."""
    first = ask(model, folder / "first", video, queries)
    later = [ask(model, folder / "first", video, queries[::-1]) for _ in range(repeats)]
    command = [sys.executable, "-m", "vmr", "-q", "locate", str(video), queries[1], "--model", str(model)]
    whole = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run([*command, "--cache", str(folder / "first")], check=True, capture_output=True)
        whole.append(time.perf_counter() - begin)
    long = [sys.executable, "-c", LONG, str(model), str(folder / "long"), str(video), str(LONG_STEPS)]
    told = subprocess.run([*long, *queries, *queries], check=True, capture_output=True, text=True).stdout
    stretches, *seconds = json.loads(told)
    found = {
        "start_up_sec": statistics.median(sum(each[:2]) for each in later),
        "first_question_sec": first[2],
        "later_question_features_on_disk_sec": statistics.median(each[2] for each in later),
        "later_question_features_in_memory_sec": statistics.median(each[3] for each in later),
        "whole_command_later_question_sec": statistics.median(whole),
        "two_hours_later_question_sec": statistics.median(seconds[1:]),
        "two_hours_stretches": stretches,
        "repeats": repeats,
    }
    for name, value in found.items():
        print(f"{name:42s} {value:7.3f}", flush=True)
    return found


def sparse_copy(model: Path, path: Path) -> Path:
    """The model with an extractor that looks at a window every `SPARSE_STRIDE` frames."""
    own = read_model(model)
    features = own.info["features"] | {"mode": "windows", "stride": SPARSE_STRIDE}
    info = {name: value for name, value in own.info.items() if name != "format"} | {"features": features}
    write_model(path, own.network, own.words, info=info, files=own.files, pca=own.pca)
    return path


def measure_memory(model: Path, query: str, folder: Path, *, minutes: float, hours: float) -> dict[str, object]:
    """Peaks of the command for a short video, some minutes and hours."""
    sparse = sparse_copy(model, folder / "sparse.safetensors")
    cases = {"short": (SHORT_SEC, model), "minutes": (minutes * 60, model), "hours": (hours * 3600, sparse)}
    results: dict[str, object] = {}
    for name, (seconds, own) in cases.items():
        video = render(folder / f"{name}.mp4", seconds=seconds)
        command = [sys.executable, "-m", "vmr", "locate", str(video), query, "--json", "--model", str(own)]
        log = folder / f"{name}.log"
        found = watch([*command, "--cache", str(folder / name)], log)
        answer = json.loads(next(line for line in log.read_text().splitlines() if line.startswith("{")))
        results[name] = {
            "seconds_of_video": seconds,
            "peak_mb": found["peak_mb"],
            "seconds": found["seconds"],
            "stretches": answer["stretches"],
        }
        print(
            f"{name:8s} {seconds:6.0f} s of video, {answer['stretches']} stretches: {found['peak_mb']:6.0f} MB",
            flush=True,
        )
        video.unlink()
    return results


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queries", nargs=2)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--part", choices=["questions", "memory", "both"], default="both", help="keeps the other as it was"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "locate.json")
    options = parser.parse_args()
    result = json.loads(options.output.read_text()) if options.output.exists() else {}
    result |= {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]},
        "versions": library_versions(["torch", "numpy", "decord", "h5py", "spacy"]),
        "sparse_stride": SPARSE_STRIDE,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.part != "memory":
            result["questions"] = measure_questions(
                options.model, options.video, options.queries, folder, repeats=options.repeats
            )
        if options.part != "questions":
            result["memory"] = measure_memory(
                options.model, options.queries[0], folder, minutes=options.minutes, hours=options.hours
            )
    write_json(options.output, result)


if __name__ == "__main__":
    main()
