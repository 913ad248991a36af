"""`make fuzz N=1000 SEED=0`: hostile files through the stages and the readers; every one is a result or a reason.

Videos go as one data set through probing, decoding and (a tenth of them) extraction; other files each through what
reads them. Exit code 1 where one is neither, where a process or a temporary file is left over, or where a file takes
more time or memory than it may. Those are kept, as small as they can be made, in tests/fuzz/kept, which the tests try.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
KEPT = Path(__file__).parent / "kept"
MOST_SEC = {"probe": 15.0, "decode": 100.0, "extract": 45.0}  # a file; the time limits of a program are 10 and 20 s
MOST_MB = {"probe": 2500, "decode": 3500, "extract": 3000}  # of all processes of a stage together
_MARK = "VMR_FUZZ"


class Watch:
    """Memory of a process with all that it starts, as time goes on; Linux only."""

    def __init__(self, root: int) -> None:
        self.samples: list[tuple[float, int]] = []
        self._root, self._over = root, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.samples.append((time.monotonic(), sum(map(resident_kb, family(self._root)))))

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def peak_mb(self, begin: float, end: float) -> float:
        return max((kb for at, kb in self.samples if begin - 0.05 <= at <= end + 0.05), default=0) / 1000


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [own for own, parent in parents.items() if parent == pid]
    return found


def resident_kb(pid: int) -> int:
    """Memory of a process; what it shares with others, as after a fork, in parts."""
    try:
        return int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):
        return 0


def left_over(mark: str) -> list[str]:
    """Command lines of processes that carry our mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def stage(name: str, folder: Path, facts: dict[str, Any], timeout_sec: float) -> list[dict[str, Any]]:
    """Run a stage; what each video took. `facts` gets what the whole took and what was wrong with it."""
    mark, temporary = f"{os.getpid()}-{name}", folder / f"tmp-{name}"
    temporary.mkdir()
    log = folder / f"{name}.jsonl"
    began = time.monotonic()
    with (folder / f"{name}.err").open("w") as said, subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stages.py")), name, str(folder), str(log)],
        env=os.environ | {_MARK: mark, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
        stdout=said,
        stderr=said,
        start_new_session=True,
    ) as process:  # fmt: skip
        watch = Watch(process.pid)
        try:
            code: int | str = process.wait(timeout_sec)
        except subprocess.TimeoutExpired:
            code = "hangs"
            process.kill()
        watch.end()
    text = (folder / f"{name}.err").read_text(errors="replace")
    own = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for entry in own:
        entry["mb"] = round(watch.peak_mb(entry["begin"], entry["end"]))
    time.sleep(0.3)
    facts |= {
        "code": code,
        "seconds": round(time.monotonic() - began, 1),
        "peak_mb": round(watch.peak_mb(began, float("inf"))),
        "processes_left": left_over(mark),
        "files_left": sorted(path.name for path in temporary.rglob("*")),
    }
    facts["faults"] = [
        *([f"ended with {code}: {text.strip()[-1000:]}"] if code != 0 else []),
        *(["a traceback in the log"] if "Traceback" in text else []),
        *(f"process left: {one}" for one in facts["processes_left"]),
        *(f"temporary file left: {one}" for one in facts["files_left"]),
    ]
    return own


def fuzz_media(count: int, seed: int, folder: Path, *, kept: Path = KEPT) -> dict[str, Any]:
    import pandas as pd
    from fuzz import hostile
    from written import write_first_seconds

    videos, secret = folder / "videos", folder / "secret" / "secret.mp4"
    videos.mkdir()
    secret.parent.mkdir()
    hostile.clips.render(secret, *hostile.FAST, frames=24)
    made = hostile.media(videos, count, seed, secret)
    write_first_seconds(folder / "moments.csv", test=dict.fromkeys(made, float("nan")))
    facts: dict[str, Any] = {"files": count, "stages": {}}
    took: dict[str, dict[str, dict[str, Any]]] = {}
    for name in ("probe", "decode", "extract"):
        facts["stages"][name] = {}
        entries = stage(name, folder, facts["stages"][name], 600 + 10 * count)
        took[name] = {entry["video"]: entry for entry in entries}
        if facts["stages"][name]["code"] != 0:
            break
    if not (folder / "frames.csv").exists():
        return facts
    # `pandas` as the readers of our manifests use it: as text.
    table = pd.read_csv(folder / "frames.csv", dtype=str, keep_default_na=False).set_index("video_id")
    outcomes, reasons, faults = Counter[str](), Counter[str](), []
    for name, what in made.items():
        row = table.loc[name]
        outcomes[f"{what.split('+')[0]}: {row['status']}"] += 1
        path = next(videos.glob(f"{glob_safe(name)}.*"))
        wrong = []
        if row["status"] == "bad":
            reasons[re.sub(r"[\d.,x]+", "N", row["reason"])[:60]] += 1
            if not row["reason"] or "\n" in row["reason"] or "unexpected" in row["reason"]:
                wrong.append(f"reason: {row['reason']!r}")
        elif row["status"] != "ok" or row["decoded_frames"] == "0":
            wrong.append(f"status {row['status']!r}: {row['reason']}")
        for own, entries in took.items():
            entry = entries.get(name, {"seconds": 0.0, "mb": 0})
            if entry["seconds"] > MOST_SEC[own] or entry["mb"] > MOST_MB[own]:
                wrong.append(
                    f"{own} took {entry['seconds']:.1f} s and {entry['mb']} MB: {row['status']} {row['reason']}"
                )
        if wrong:
            faults.append({"file": path.name, "what": what, "wrong": wrong})
            if path.is_file():
                kept.mkdir(exist_ok=True)
                shutil.copyfile(path, kept / f"{seed}-{path.name}")
    facts |= {"became": dict(sorted(outcomes.items())), "reasons": dict(reasons.most_common(40)), "faults": faults}
    for name, entries in took.items():
        order = sorted(entries.values(), key=lambda entry: -entry["seconds"])
        facts["stages"][name] |= {
            "slowest": [f"{one['video']} ({made[one['video']]}): {one['seconds']:.1f} s" for one in order[:5]],
            "largest": [
                f"{one['video']} ({made[one['video']]}): {one['mb']} MB"
                for one in sorted(order, key=lambda entry: -entry["mb"])[:5]
            ],
            "median_sec": round(order[len(order) // 2]["seconds"], 3) if order else None,
        }
    return facts


def glob_safe(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("media", "data"))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--folder", type=Path, help="where the files go and stay")
    options = parser.parse_args()
    from fuzz import readers

    result: dict[str, Any] = {"seed": options.seed, "bounds": {"seconds": MOST_SEC, "mb": MOST_MB}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if options.only != "data":
            result["media"] = fuzz_media(options.count, options.seed, folder)
        if options.only != "media":
            result["data"] = readers.fuzz(options.count, random.Random(options.seed), folder, KEPT)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    media = result.get("media", {})
    faults = [*media.get("faults", []), *result.get("data", {}).get("faults", [])]
    faults += [fault for own in media.get("stages", {}).values() for fault in own["faults"]]
    print(f"{len(faults)} faults" if faults else "no fault", file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
