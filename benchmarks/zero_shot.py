"""Measure which sentences the zero-shot answers understand, choose their thresholds, and try them on videos.

    python benchmarks/zero_shot.py --videos ../shared/data/videos

Sentences are those of tests/data/kinetics_sentences.csv: 301 paraphrases of 60 classes and 84 sentences without a near
class. What is chosen is chosen on the tuning half (every other class). Of the videos, two show an action that the
sentences are about, and one is cut from four of them; the rest show none.
"""

import argparse
import csv
import json
import re
import subprocess
from pathlib import Path

import numpy as np

from vmr.assets.glove_package import read_words
from vmr.assets.packages import package_file
from vmr.assets.registry import get_asset
from vmr.errors import VmrError
from vmr.locate.zero_shot import ActionLocator
from vmr.storage.files import write_json
from vmr.zero_shot.actions import NEAR, action_names, named
from vmr.zero_shot.moments import PEAK, stretches

ROOT = Path(__file__).parent
HALVES = ("tuning", "held out")
KEPT, LET_THROUGH = 0.9, 0.005  # of tuning sentences near a class; of pairs of a sentence and a video without it
# File, and the action in it with its seconds; the cut follows these one after the other.
SHOWN = {
    "nasa_13013.mp4": None,
    "v_ZNVhz7ctTq0.mp4": ("walking the dog", 0.0, 14.0),
    "flipping_a_pancake.mkv": ("flipping pancake", 0.0, 10.33),
    "3MSZA.mp4": None,
}
CUT_SEC = (12.0, 14.0, 10.33, 10.0)


def main() -> None:
    """Measure all of it and write benchmarks/results/zero_shot.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="features of earlier calls")
    options = parser.parse_args()
    with (ROOT.parent / "tests" / "data" / "kinetics_sentences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    locator = ActionLocator.load(cache=options.cache, device="cpu")
    matcher = locator._matcher
    truth = np.array([action_names().index(row["action"]) if row["action"] else -1 for row in rows])
    half = np.array([HALVES.index(row["half"]) for row in rows])
    sentences = [row["sentence"] for row in rows]
    encoders = {f"glove, weight {a:g}/({a:g}+f)": glove_similarities(sentences, a) for a in (1e9, 1e-3, 1e-4, 1e-5)}
    encode = matcher._encode
    encoders["minilm, the name"] = encode(sentences) @ encode(list(action_names())).T
    encoders["minilm, name and sentence"] = similarity = matcher.similarities(sentences)
    found = {
        "sentences": {name: understood(values, truth, half) for name, values in encoders.items()},
        "near": near_threshold(similarity, truth, half),
        "videos": on_videos(locator, options.videos, similarity, truth, half),
    }
    write_json(ROOT / "results" / "zero_shot.json", found)
    print(json.dumps(found, indent=1))


def glove_similarities(sentences: list[str], weight: float) -> np.ndarray:
    """Cosines of weighted means of word vectors (Arora et al., ICLR 2017); frequencies by Zipf's law from the ranks."""
    asset = get_asset("glove_6b_50d")
    row = {word: number for number, word in enumerate(read_words(package_file(asset, "words")))}
    table = np.load(package_file(asset, "vectors"))

    def vector(sentence: str) -> np.ndarray:
        known = [row[word] for word in re.findall(r"[a-z]+", sentence.lower()) if word in row]
        shares = np.array([weight / (weight + 0.1 / (rank + 1)) for rank in known])
        mean = shares @ table[known] if known else np.zeros(table.shape[1])
        return mean / max(np.linalg.norm(mean), 1e-9)

    return np.stack([vector(each) for each in sentences]) @ np.stack([vector(each) for each in action_names()]).T


def understood(similarity: np.ndarray, truth: np.ndarray, half: np.ndarray) -> dict[str, dict[str, float]]:
    """In percent, how often the right class is among the nearest; and how often a sentence with a class lies nearer to
    its nearest one than a sentence without.
    """
    found = {}
    for number, name in enumerate(HALVES):
        own = similarity[(half == number) & (truth >= 0)]
        right = own[np.arange(len(own)), truth[(half == number) & (truth >= 0)]]
        rank = (own >= right[:, None]).sum(axis=1)
        none = similarity[(half == number) & (truth < 0)].max(axis=1)
        tops = {f"top {top}": 100 * float((rank <= top).mean()) for top in (1, 3, 5)}
        apart = 100 * float((own.max(axis=1)[:, None] > none).mean())
        found[name] = {key: round(value, 1) for key, value in {**tops, "nearer than without": apart}.items()}
    return found


def near_threshold(similarity: np.ndarray, truth: np.ndarray, half: np.ndarray) -> dict[str, object]:
    """The cosine above which `KEPT` of the tuning sentences lie, and what that gives in both halves, in percent."""
    best = similarity.max(axis=1)
    chosen = np.floor(100 * np.quantile(best[(half == 0) & (truth >= 0)], 1 - KEPT)) / 100
    found: dict[str, object] = {"chosen": round(float(chosen), 2), "in the code": NEAR}
    for number, name in enumerate(HALVES):
        mine, none = (half == number) & (truth >= 0), (half == number) & (truth < 0)
        sets = [{each.number for each in named(row)} for row in similarity[mine]]
        hits = [t in own and b >= NEAR for t, own, b in zip(truth[mine], sets, best[mine], strict=True)]
        found[name] = {
            "taken": round(100 * float((best[mine] >= NEAR).mean()), 1),
            "right class among those named": round(100 * float(np.mean(hits)), 1),
            "classes named": round(float(np.mean([len(own) for own in sets])), 2),
            "without a class refused": round(100 * float((best[none] < NEAR).mean()), 1),
        }
    return found


def on_videos(
    locator: ActionLocator, folder: Path, similarity: np.ndarray, truth: np.ndarray, half: np.ndarray
) -> dict[str, object]:
    """The threshold of the peak from all sentences asked of all videos, and the spans of what they show."""
    probabilities, edges, shown = {}, {}, {}
    for path in [*sorted(folder.iterdir()), cut(folder)]:
        try:
            features = locator.features(path)
        except VmrError as error:
            print(f"left out: {error}")
            continue
        probabilities[path.name] = locator._classifier.probabilities(features.features)
        edges[path.name] = features.start_sec, features.end_sec
        shown[path.name] = [SHOWN[path.name]] if SHOWN.get(path.name) else []
    begins = np.concatenate([[0.0], np.cumsum(CUT_SEC)])
    shown["cut.mp4"] = [
        (part[0], float(begins[number]), float(begins[number + 1]))
        for number, part in enumerate(SHOWN.values())
        if part
    ]
    sets = [[each.number for each in named(row)] for row in similarity]
    peaks, there = {}, {}
    for name, own in probabilities.items():
        actions = {action_names().index(part[0]) for part in shown[name]}
        peaks[name] = np.array([own[:, numbers].sum(axis=1).max() for numbers in sets])
        there[name] = np.isin(truth, list(actions))
    near = similarity.max(axis=1) >= NEAR

    def shares(peak: float, number: int) -> dict[str, object]:
        mine = half == number
        answered = {name: (near & (own >= peak))[mine] for name, own in peaks.items()}
        right = [answered[name][there[name][mine]] for name in peaks]
        wrong = [answered[name][~there[name][mine]] for name in peaks]
        return {
            "of what is shown": f"{np.concatenate(right).sum()} of {sum(map(len, right))}",
            "of what is not, percent": round(100 * float(np.concatenate(wrong).mean()), 2),
        }

    tried = [round(0.05 * step, 2) for step in range(1, 16)]
    table = {str(peak): {name: shares(peak, number) for number, name in enumerate(HALVES)} for peak in tried}
    fitting = [p for p in tried if table[str(p)]["tuning"]["of what is not, percent"] <= 100 * LET_THROUGH]
    spans = []
    for name, parts in shown.items():
        for action, start, end in parts:
            steps, _ = stretches(probabilities[name][:, action_names().index(action)], most=1)
            found = float(edges[name][0][steps[0, 0]]), float(edges[name][1][steps[0, 1]])
            both = min(end, found[1]) - max(start, found[0])
            iou = both / (max(end, found[1]) - min(start, found[0]))
            spans.append({"video": name, "action": action, "true": [start, end], "found": found, "iou": round(iou, 3)})
    return {"chosen": fitting[0] if fitting else None, "in the code": PEAK, "found a moment": table, "spans": spans}


def cut(folder: Path) -> Path:
    """Four videos one after the other."""
    path = ROOT.parent / "work" / "benchmarks" / "cut.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        inputs = [
            part
            for name, seconds in zip(SHOWN, CUT_SEC, strict=True)
            for part in ("-t", str(seconds), "-i", str(folder / name))
        ]
        scaled = [f"[{n}:v:0]scale=320:240,setsar=1,fps=24[v{n}]" for n in range(len(SHOWN))]
        joined = "".join(f"[v{n}]" for n in range(len(SHOWN))) + f"concat=n={len(SHOWN)}:v=1:a=0"
        graph = ";".join([*scaled, joined])
        subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-an", path], check=True)
    return path


if __name__ == "__main__":
    main()
