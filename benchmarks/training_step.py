"""Seconds of a training step of CI-MHA, by size and precision; writes benchmarks/results/training_step.json.

Run it on a machine that does nothing else: ``python benchmarks/training_step.py``. Features and words are random,
since their values do not change the time.
"""

import argparse
import datetime
import os
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from vmr.config.sections import ModelSettings
from vmr.machine.devices import choose_device, describe
from vmr.machine.precision import autocast, has_native_bfloat16
from vmr.methods.build import build_network
from vmr.model.batch import Batch
from vmr.model.losses import moment_loss
from vmr.storage.files import write_json
from vmr.training.inference import predict_batch

# batch: queries; videos: different videos among them (Charades-STA: nearly all differ; demo: six queries a video).
CASES = {
    "charades": {"batch": 100, "videos": 98, "steps": 128, "video_dim": 1024, "word_dim": 300, "hidden": 512},
    "charades_typical_length": {
        "batch": 100,
        "videos": 98,
        "steps": 92,
        "video_dim": 1024,
        "word_dim": 300,
        "hidden": 512,
    },
    "demo": {"batch": 100, "videos": 36, "steps": 27, "video_dim": 1024, "word_dim": 50, "hidden": 128},
}
WORDS = 10


def random_batch(case: dict[str, int], dtype: torch.dtype, device: torch.device) -> tuple[Batch, torch.Tensor]:
    """A batch of the sizes of a case, without padding; and the first and last step of each moment."""
    batch, steps = case["batch"], case["steps"]
    labels = torch.randint(0, steps, (batch, 2)).sort(dim=1).values
    inputs = Batch(
        features=torch.randn(case["videos"], steps, case["video_dim"]).to(device, dtype),
        video=(torch.arange(batch) % case["videos"]).to(device),
        step_counts=torch.full((batch,), steps),
        words=torch.randn(batch, WORDS, case["word_dim"]).to(device),
        unknown_mask=torch.zeros(batch, WORDS, dtype=torch.bool, device=device),
        word_counts=torch.full((batch,), WORDS),
        tokens=torch.zeros(batch, WORDS, dtype=torch.long, device=device),
    )
    return inputs, labels.to(device)


def measure(case: dict[str, int], precision: str, device: torch.device, repeats: int) -> dict[str, float]:
    """Median and fastest seconds of forward, backward and Adam; and of prediction alone."""
    torch.manual_seed(0)
    sizes = ModelSettings(hidden=case["hidden"], query_hidden=case["hidden"] // 2).model_dump()
    model = build_network(
        method="ci_mha", video_dim=case["video_dim"], word_dim=case["word_dim"], **sizes
    ).to(device)  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    batch, labels = random_batch(case, torch.float16 if precision == "bfloat16" else torch.float32, device)

    def step() -> None:
        loss = moment_loss(predict_batch(model, batch, precision), labels, batch.step_counts).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def predict() -> None:
        with torch.inference_mode(), autocast(device, precision):
            predict_batch(model, batch, precision)

    training = seconds(step, repeats, device)
    model.eval()
    prediction = seconds(predict, repeats, device)
    return {
        "training_step_median_sec": round(statistics.median(training), 4),
        "training_step_fastest_sec": round(min(training), 4),
        "prediction_median_sec": round(statistics.median(prediction), 4),
    }


def seconds(run, repeats: int, device: torch.device) -> list[float]:
    """Seconds of each of some runs, after one that does not count."""
    found = []
    for repeat in range(repeats + 1):
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat:
            found.append(time.perf_counter() - begin)
    return found


def main() -> None:
    """Measure all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_step.json")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    results = {
        name: {precision: measure(case, precision, device, arguments.repeats) for precision in ("float32", "bfloat16")}
        for name, case in CASES.items()
    }
    write_json(
        arguments.output,
        {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": describe(device),
            "processor": processor(),
            "cpu_bfloat16": has_native_bfloat16(torch.device("cpu")),
            "threads": arguments.threads,
            "load_average_before_and_during": [round(load, 2) for load in os.getloadavg()],
            "python": platform.python_version(),
            "torch": torch.__version__,
            "repeats": arguments.repeats,
            "words_a_query": WORDS,
            "cases": CASES,
            "seconds": results,
        },
    )
    for name, precisions in results.items():
        for precision, row in precisions.items():
            print(f"{name:24} {precision:9}", *(f"{key} {value}" for key, value in row.items()))


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
