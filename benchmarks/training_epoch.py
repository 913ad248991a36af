"""Seconds of an epoch and of predictions: the straightforward loop against ours, on the files of a dataset.

    python benchmarks/training_epoch.py --work work/charades_sim --features work/charades_sim/features/simulated.h5

Straightforward: single precision, a DataLoader that reads HDF5 for every item, every video padded to the longest that
is allowed and every query to the most words, each query with its own copy of its video, packed LSTMs and torch's
dropout. Ours: what `vmr train` does. Both have the same network, batch size and threads. Of each epoch some batches
are timed, spread evenly over the lengths of videos, in turns; the epoch is their mean times the number of batches. On a
card, where steps are recorded and replayed, `training_card.py` times whole epochs of ours. Memory is measured in a
process for each way, workers included, during three steps; `--parts memory` measures it alone and keeps the times of
an earlier run.
"""

import argparse
import datetime
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch
from i3d_speed import processor_name
from memory import tree_bytes
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, Dataset

from vmr.annotations.moments import validation_videos
from vmr.config.sections import ModelSettings
from vmr.data.collate import Collator, training_batches
from vmr.data.dataset import DatasetFiles
from vmr.data.samples import Samples, build_samples
from vmr.data.video_steps import VideoSteps, load_videos, pool_steps
from vmr.features.store import FeatureStore
from vmr.machine.devices import choose_device, describe
from vmr.machine.precision import resolve_precision
from vmr.methods.build import build_network
from vmr.model.batch import Batch, Targets
from vmr.model.dropout import Dropout
from vmr.model.encoders import BiLSTM
from vmr.queries.store import QueryStore
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.training.inference import ranked_spans
from vmr.training.step import TrainingStep

PARTS = ("times", "memory")
WAYS = ("straightforward", "ours")
_STEPS_WATCHED = 3


class Items(Dataset):
    """One query an item, its features read from HDF5 each time and padded, as most public loaders do it."""

    def __init__(
        self, features: Path, samples: Samples, vectors: np.ndarray, *, max_steps: int, max_words: int
    ) -> None:
        self.path, self.samples, self.vectors = features, samples, vectors
        self.max_steps, self.max_words = max_steps, max_words
        self.store: FeatureStore | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        self.store = self.store or FeatureStore(self.path)
        video = self.store.get(self.samples.video_ids[row])
        features, _, _ = pool_steps(video.features, video.start_sec, video.end_sec, max_steps=self.max_steps)
        padded = np.zeros((self.max_steps, features.shape[1]), np.float32)
        padded[: len(features)] = features
        count = int(self.samples.word_counts[row])
        words = np.zeros((self.max_words, self.vectors.shape[1]), np.float32)
        words[:count] = self.vectors[self.samples.tokens[row, :count]]
        unknown = np.zeros(self.max_words, bool)
        unknown[:count] = self.samples.tokens[row, :count].numpy() == 0
        return (
            torch.from_numpy(padded), torch.tensor(len(features)), torch.from_numpy(words), torch.from_numpy(unknown),
            torch.tensor(count), self.samples.labels[row],
        )  # fmt: skip


def batch_of(item: list[torch.Tensor], device: torch.device) -> tuple[Batch, Targets]:
    """What the loader collated, as the network takes it: each query with a video of its own."""
    features, steps, words, unknown, counts, labels = (tensor.to(device) for tensor in item)
    number, none = torch.arange(len(labels), device=device), torch.zeros(unknown.shape, dtype=torch.long, device=device)
    # The network of the benchmark reads neither numbers of words, nor negatives, nor the share that a span covers.
    batch = Batch(features, number, steps, words, unknown, counts, none)
    share = torch.zeros(len(labels), 2, device=device)
    return batch, Targets(number, steps, none, number[:, None], labels=labels, share=share)


class PackedLSTM(nn.Module):
    """The usual way to give a bi-LSTM sequences of different lengths."""

    def __init__(self, layer: BiLSTM) -> None:
        super().__init__()
        self.lstm = layer.lstm

    def forward(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """States, zeros after the end of a sequence."""
        packed = pack_padded_sequence(x, counts, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def dataset_files(options: argparse.Namespace) -> DatasetFiles:
    """Where the workflow puts a dataset's files: in the folder `--work`; the features are `--features`."""
    return DatasetFiles(
        moments=options.work / "annotations" / "moments.csv",
        features=options.features,
        queries=options.work / "queries" / "queries.h5",
    )


def with_usual_layers(module: nn.Module) -> nn.Module:
    """The network with every bi-LSTM packed and every dropout torch's, in place: ours are faster."""
    for name, child in module.named_children():
        if isinstance(child, BiLSTM):
            setattr(module, name, PackedLSTM(child))
        elif isinstance(child, Dropout):
            setattr(module, name, nn.Dropout(child.probability))
        else:
            with_usual_layers(child)
    return module


class Straightforward:
    """The common loop."""

    def __init__(self, network: nn.Module, items: Items, *, batch_size: int, device: torch.device) -> None:
        self.network, self.device = with_usual_layers(network).to(device), device
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        # Workers of their own, as everybody has them; they read ahead while the network computes.
        self.loader = DataLoader(items, batch_size=batch_size, shuffle=True, num_workers=2, drop_last=True)
        self.batches = iter(self.loader)

    def step(self) -> None:
        """One batch, forward and backward."""
        self.network.train()
        batch, targets = batch_of(next(self.batches), self.device)
        loss = self.network.losses(self.network(batch), targets).total
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        synchronise(self.device)


class Ours:
    """The loop of `vmr.training.loop`, a batch at a time."""

    def __init__(self, network: nn.Module, videos: VideoSteps, samples: Samples, vectors: np.ndarray, *,
                 batch_size: int, timed: int, precision: str, device: torch.device) -> None:  # fmt: skip
        self.network, self.samples, self.device = network.to(device), samples, device
        on_card = device.type == "cuda"
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True, capturable=on_card)
        self.training_step = TrainingStep(network, optimizer, gradient_clip=1.0, precision=precision, stage="")
        self.collator = Collator(videos, vectors, device=device)
        counts = videos.counts[samples.video].numpy()
        batches = training_batches(counts, batch_size=batch_size, seed=0, epoch=1)
        self.per_epoch = len(batches)
        by_length = sorted(batches, key=lambda rows: counts[rows].max())
        chosen = np.linspace(0, len(batches) - 1, timed + 1).astype(int)
        self.batches = iter([by_length[i] for i in (chosen[timed // 2], *chosen)])

    def step(self) -> None:
        """One batch, forward and backward."""
        self.network.train()
        rows = next(self.batches)
        batch = self.collator(self.samples, rows)
        self.training_step(batch, self.collator.targets(self.samples, rows, batch))
        synchronise(self.device)


class Watch:
    """The largest proportional set size of this process and its children while the block runs."""

    def __enter__(self) -> Self:
        self.peak_mb, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.peak_mb = max(self.peak_mb, tree_bytes(psutil.Process()) / 2**20)


def peaks(options: argparse.Namespace) -> dict[str, float]:
    """Megabytes that training takes in each way, each in a process of its own."""
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", way]
        found[way] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
        print(f"{way:16s} {found[way]:8.0f} MB", flush=True)
    return found


def synchronise(device: torch.device) -> None:
    """Wait for the card."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def inference(network: nn.Module, collator: Collator, samples: Samples, *, batch_size: int) -> dict[str, float]:
    """Milliseconds of one query alone, and queries a second in batches; top five spans each, in both precisions.

    The queries are those of a part of the test videos, all of each video's, in the order in which `vmr evaluate-run`
    takes them.
    """
    result: dict[str, float] = {"queries": len(samples), "batch_size": batch_size}
    for precision in ("float32", "bfloat16"):
        alone, rates = [], []
        for row in np.linspace(0, len(samples) - 1, 31).astype(int):
            one = samples.take([int(row)])
            begin = time.perf_counter()
            list(ranked_spans(network, collator, one, batch_size=1, top=5, precision=precision))
            alone.append(time.perf_counter() - begin)
        for _ in range(3):
            begin = time.perf_counter()
            list(ranked_spans(network, collator, samples, batch_size=batch_size, top=5, precision=precision))
            rates.append(len(samples) / (time.perf_counter() - begin))
        result[f"one_query_ms_median_{precision}"] = 1000 * statistics.median(alone[1:])
        result[f"queries_a_second_{precision}"] = statistics.median(rates)
    return result


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the dataset: annotations, queries")
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--max-steps", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--timed", type=int, default=12, help="batches of ours that are timed")
    parser.add_argument("--timed-straightforward", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "training_epoch.json")
    options = parser.parse_args()
    if options.parts == ["memory"] and not options.memory_of:
        write_json(options.output, json.loads(options.output.read_text()) | {"peak_memory_mb": peaks(options)})
        print(f"written to {options.output}")
        return
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    precision = resolve_precision("auto", device, width=options.hidden)
    files = dataset_files(options)
    table, _ = files.clamped_moments()
    held_out = validation_videos(table.loc[table["split"] == "train", "video_id"], fraction=0.1)
    train = table[(table["split"] == "train") & ~table["video_id"].isin(held_out)]
    queries = QueryStore(files.queries)
    test = table[table["split"] == "test"]
    # Every third video: about 1,200 queries of Charades-STA.
    test = test[test["video_id"].isin(sorted(test["video_id"].unique())[::3])]
    with FeatureStore(files.features) as store:
        asked = load_videos(store, test["video_id"], max_steps=options.max_steps, device=device)
        begin = time.perf_counter()
        videos = load_videos(
            store, train["video_id"], max_steps=options.max_steps, device=device,
            dtype=torch.float16 if precision == "bfloat16" else torch.float32,
        )  # fmt: skip
        dim = store.dim
    loading = time.perf_counter() - begin
    samples = build_samples(train, videos, queries, drop_empty=True)
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(
            build_network(
                method="ci_mha",
                video_dim=dim,
                word_dim=queries.dim,
                **ModelSettings(
                    max_steps=options.max_steps, hidden=options.hidden, query_hidden=options.hidden // 2
                ).model_dump(),
            )
        )
    items = Items(options.features, samples, queries.vectors, max_steps=options.max_steps, max_words=25)
    if options.memory_of == "straightforward":
        asked, videos = None, None  # that loop reads features from the disk, each time
        gc.collect()
    else:
        ours = Ours(
            networks[1], videos, samples, queries.vectors, batch_size=options.batch_size, timed=options.timed,
            precision=precision, device=device,
        )  # fmt: skip
    if options.memory_of != "ours":
        plain = Straightforward(networks[0], items, batch_size=options.batch_size, device=device)
    if options.memory_of:
        loop = ours if options.memory_of == "ours" else plain
        with Watch() as watch:
            for _ in range(_STEPS_WATCHED):
                loop.step()
        print(watch.peak_mb)
        return
    seconds: dict[str, list[float]] = {"straightforward": [], "ours": []}
    for loop in (plain, ours):  # the first of each does not count
        loop.step()
    turns = options.timed // options.timed_straightforward
    for turn in range(options.timed):
        for way, loop in (("straightforward", plain), ("ours", ours)):
            if way == "ours" or turn % turns == 0:
                begin = time.perf_counter()
                loop.step()
                seconds[way].append(time.perf_counter() - begin)
    epoch = {way: statistics.fmean(times) * ours.per_epoch for way, times in seconds.items()}
    questions = build_samples(test, asked, queries, drop_empty=False)
    answers = inference(ours.network, Collator(asked, queries.vectors, device=device), questions, batch_size=200)
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": {
            "processor": processor_name(), "device": describe(device), "cores": os.cpu_count(),
            "threads": options.threads, "load_at_end": os.getloadavg()[0],
        },
        "versions": library_versions(["torch", "numpy", "h5py"]),
        "dataset": options.work.name,
        "queries": len(samples),
        "batches_an_epoch": ours.per_epoch,
        "hidden": options.hidden,
        "precision_of_ours": precision,
        "seconds_a_step": {way: {"mean": statistics.fmean(t), "median": statistics.median(t), "timed": len(t)}
                           for way, t in seconds.items()},
        "seconds_an_epoch": epoch,
        "times_as_fast": epoch["straightforward"] / epoch["ours"],
        "loading_features_sec": loading,
        "features_in_memory_mb": videos.rows.element_size() * videos.rows.nelement() / 2**20,
        "inference": answers,
    }  # fmt: skip
    if device.type == "cuda":
        result["peak_memory_of_card_mb"] = torch.cuda.max_memory_allocated() / 2**20
    if "memory" in options.parts:
        result["peak_memory_mb"] = peaks(options)
    write_json(options.output, result)
    for way, value in epoch.items():
        print(f"{way:16s} {value:8.1f} s an epoch of {ours.per_epoch} batches")
    print(f"{result['times_as_fast']:.2f} times as fast; {answers}")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
