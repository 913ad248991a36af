"""Hostile annotations, tables, predictions, arrays and weights, each through what reads it, in a process of its own."""

import json
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from fuzz.hostile import mutated, odd_json
from safetensors.torch import save_file
from written import write_first_seconds

from vmr.annotations.parse import parse_annotations
from vmr.config import read_config
from vmr.config.feature_sections import ImportSettings
from vmr.errors import VmrError
from vmr.evaluation.standalone import evaluate_file
from vmr.features.importers import import_features
from vmr.features.pca import read_pca
from vmr.features.weights import read_weights
from vmr.locate.model_file import read_model
from vmr.queries.glove import read_vectors
from vmr.training.checkpoint import load_checkpoint

MOST_SEC, MOST_BYTES = 20, 1 << 30  # beyond what this process has before
Reader = Callable[[Path, Path], object]  # of the file, and a folder for what is written

_SENTENCES = ["a person opens the door.", "someone cooks.", "a dog runs."]
_CAPTIONS = {
    f"v{number}": {"duration": 9.5, "timestamps": [[0, 4], [1.5, 9]], "sentences": _SENTENCES[:2]}
    for number in range(3)
}
_RECORDS = [
    {"qid": 7 + number, "query": _SENTENCES[number], "vid": f"v{number}", "duration": 9.5, "relevant_windows": [[0, 4]]}
    for number in range(3)
]
_VIA = {
    "project": {"pname": "x"}, "config": {}, "attribute": {"1": {"aname": "w", "type": 1, "options": {"0": "sits"}}},
    "file": {"1": {"fid": "1", "fname": "v0.mp4", "src": "v0.mp4"}}, "view": {"1": {"fid_list": ["1"]}},
    "metadata": {"1_a": {"vid": "1", "z": [0.5, 1.5], "xy": [], "av": {"1": "0"}}},
}  # fmt: skip
_EAF = """<?xml version="1.0"?><ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR
MEDIA_URL="file:///v0.mp4"/></HEADER><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="500"/><TIME_SLOT
TIME_SLOT_ID="t2" TIME_VALUE="1500"/></TIME_ORDER><TIER TIER_ID="a"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1"
TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>One.</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER></ANNOTATION_DOCUMENT>"""
_CSV = "video,start,end,sentence,duration,query_id,split\n" + "".join(
    f'v{number}.mp4,0:01,{number + 2}.5,"{_SENTENCES[number]}",9.5,q{number},test\n' for number in range(3)
)
_ANSWERS = [{"query_id": f"test:v{number}:0", "spans": [[0.0, 4.0, 0.9], [1, 2, 0.1]]} for number in range(3)]


def _parse(path: Path, out: Path, *durations: Path) -> None:
    files = {"output": out / "moments.csv", "report": out / "report.json"}
    parse_annotations(annotation_format="auto", annotations={"test": [path]}, durations=list(durations), **files)


def _parse_durations(path: Path, out: Path) -> None:
    (out / "a.txt").write_text("v0 0 1##a person walks.\n")
    _parse(out / "a.txt", out, path)


def _evaluate(path: Path, out: Path) -> None:
    (out / "captions.json").write_text(json.dumps(_CAPTIONS))
    evaluate_file(predictions=path, annotations=[f"test={out / 'captions.json'}"], skip_bad_lines=True, resamples=10)


def _import(path: Path, out: Path) -> None:
    write_first_seconds(out / "moments.csv", train={"v0": 4.0})
    folder = path.suffix not in (".h5", ".npz")
    if folder:
        (out / "in").mkdir()
        shutil.copyfile(path, out / "in" / f"v0{path.suffix}")
    import_features(
        ImportSettings(source=str(out / "in" if folder else path), layout="npy_folder" if folder else "hdf5"),
        manifests=[],
        moments=out / "moments.csv",
        output=out / "out.h5",
        coverage=out / "coverage.csv",
        code_digest="",
    )


def _seeds(folder: Path) -> dict[str, tuple[Any, Reader]]:
    """By the name of a file: its bytes or the JSON value in it, and what reads it."""
    array = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    np.save(folder / "a.npy", array)
    np.savez(folder / "a.npz", v0=array, v1=array)
    np.savez_compressed(folder / "pca.npz", mean=array[0], components=array[:4])
    torch.save(torch.from_numpy(array), folder / "a.pt")
    torch.save({"conv.weight": torch.from_numpy(array)}, folder / "weights.pt")
    for name in ("a", "weights", "model", "checkpoint"):
        facts = {"vmr": json.dumps({"format": f"vmr {name} 1", "sizes": {"dim": 8}, "method": "mha"})}
        save_file({"conv.weight": torch.from_numpy(array)}, folder / f"{name}.safetensors", metadata=facts)
    for name in ("a", "pca"):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["v0"], file["mean"], file["components"] = array, array[0], array[:4]
            file.create_group("v1")["c3d_features"] = array
            file.attrs["provenance"] = json.dumps({"fps": 24, "name": "x" * 50})
            file.create_dataset("chunked", data=np.tile(array, (20, 1)), chunks=(20, 8), compression="gzip")
    (folder / "weights.ckpt").write_bytes(pickle.dumps({"w": array}, protocol=2))
    config = Path(__file__).parents[2] / "config.yaml"
    annotations = {
        "captions.json": _CAPTIONS, "records.json": _RECORDS, "via.json": _VIA,
        "snag.json": {"test": {"v0": {"fps": 24.0, "annotations": [{"segment": [1, 9], "sentence": "One."}]}}},
        "own.csv": _CSV.encode(), "sta.txt": "".join(f"v{n} 0.5 {n + 2}##a dog runs.\n" for n in range(4)).encode(),
        "a.eaf": _EAF.encode(), "lines.jsonl": "\n".join(map(json.dumps, _RECORDS)).encode(),
    }  # fmt: skip
    read: dict[str, Reader] = {
        "a.npy": _import, "a.npz": _import, "a.pt": _import, "a.safetensors": _import, "a.h5": _import,
        "pca.npz": lambda path, out: read_pca(path), "pca.h5": lambda path, out: read_pca(path),
        "weights.pt": lambda path, out: read_weights(path), "weights.safetensors": lambda path, out: read_weights(path),
        "model.safetensors": lambda path, out: read_model(path),
        "checkpoint.safetensors": lambda path, out: load_checkpoint(path),
    }  # fmt: skip
    return {
        **{name: (value, _parse) for name, value in annotations.items()},
        "durations.csv": (b"id,length\nv0,4.5\nv1,3\n", _parse_durations),
        "answers.jsonl": ("\n".join(map(json.dumps, _ANSWERS)).encode(), _evaluate),
        "answers.json": ({one["query_id"]: one["spans"] for one in _ANSWERS}, _evaluate),
        "config.yaml": (config.read_bytes(), lambda path, out: read_config(path)),
        "vectors.txt": (b"a 0.1 0.2\nthe 0.3 -0.4\n", lambda path, out: read_vectors(path, ["a", "the"])),
        **{name: ((folder / name).read_bytes(), reader) for name, reader in read.items()},
    }


def reader_of(name: str) -> Reader:
    """What reads a file, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        return _seeds(Path(folder))[name][1]


def tried(reader: Reader, path: Path) -> tuple[str, str]:
    """What became of a file: ``read``, ``refused`` (in words), or what should not be; and what was said."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
        signal.alarm(MOST_SEC)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, now + MOST_BYTES))
        said = "read\n"
        try:
            with tempfile.TemporaryDirectory() as out:
                reader(path, Path(out))
        except VmrError as error:
            said = f"refused\n{error}"
        except BaseException as error:
            said = f"traceback\n{type(error).__name__}: {error}"
        os.write(sending, said.encode("utf-8", "backslashreplace")[:60_000])
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb") as pipe:
        kind, _, text = pipe.read().decode().partition("\n")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGALRM:
        return "hangs", f"more than {MOST_SEC} s"
    return (kind, text) if code == 0 else ("crash", f"signal {-code}")


def fuzz(count: int, random: random.Random, folder: Path, kept: Path) -> dict[str, Any]:
    """Try hostile files of each kind in turn; what became of them, by kind, and what should not be."""
    torch.set_num_threads(1)  # no threads, which a fork would lose
    (folder / "seeds").mkdir()
    seeds = _seeds(folder / "seeds")
    whole = {
        name: value if isinstance(value, bytes) else json.dumps(value, indent=1).encode()
        for name, (value, _) in seeds.items()
    }
    became: dict[str, Counter[str]] = {name: Counter() for name in seeds}
    faults, slowest = [], (0.0, "")
    for number in range(count):
        name = list(seeds)[number % len(seeds)]
        value, reader = seeds[name]
        if isinstance(value, bytes) or random.random() < 0.5:
            what, content = mutated(whole[name], list(whole.values()), random)
        else:
            what, content = "odd values", json.dumps(odd_json(value, random)).encode()
        path = folder / f"{number}-{name}"
        path.write_bytes(content)
        begin = time.monotonic()
        kind, said = tried(reader, path)
        slowest = max(slowest, (round(time.monotonic() - begin, 2), f"{path.name} ({what})"))
        became[name][kind] += 1
        if kind not in ("read", "refused") or (kind == "refused" and len(said) > 5000):
            faults.append({"file": path.name, "what": what, "wrong": [f"{kind}: {said[:300]}"]})
            kept.mkdir(exist_ok=True)
            shutil.copyfile(path, kept / path.name)
        path.unlink()
    return {
        "files": count,
        "bounds": {"seconds": MOST_SEC, "mb": MOST_BYTES >> 20},
        "slowest": list(slowest),
        "became": {name: dict(found) for name, found in became.items()},
        "faults": faults,
    }


if __name__ == "__main__":
    sys.exit(__doc__)
