"""The training loop: epochs, the choice of the best one, early stopping, and going on after a kill."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vmr.data.blind import EVALUATION_SEED, exchange_input
from vmr.data.collate import Collator, training_batches
from vmr.data.samples import Samples
from vmr.errors import TrainingError
from vmr.machine.precision import Precision
from vmr.methods.entry import Exchanged, Stage, Supervision
from vmr.model.network import MomentNetwork
from vmr.storage.files import atomic_path, writing
from vmr.training.checkpoint import load_state, save_state
from vmr.training.inference import validation_scores
from vmr.training.step import TrainingStep

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

STATE_FILE = "last.pt"
HISTORY_FILE = "history.csv"
TENSORBOARD_FOLDER = "tensorboard"

# The best epoch is the one of highest mean IoU. R@1 at 0.5 and 0.7, which the tables print, move in steps of one
# query (nearly 3 points with the demo's 36 validation queries), so that ties and luck would choose by them.
CRITERION = "mIoU"
# A network begins by answering with nearly the whole video, and mIoU then stands still (at 33 for three events a
# video) for dozens of epochs while the loss falls. So patience ends only when both stand still.
PATIENCE_LOSS = "validation_loss"
# Losses are looked at after so many steps: each look makes a GPU wait.
_STEPS_BETWEEN_CHECKS = 8
_ADVICE = "Look at the features of these videos, or try precision float32 or a smaller learning rate."
_SCALAR_GROUPS = dict.fromkeys((PATIENCE_LOSS, "R@1,IoU=0.5", "R@1,IoU=0.7", CRITERION), "validation")


@dataclass(frozen=True)
class LoopSettings:
    """How to train."""

    seed: int  # of dropout and the order of samples
    epochs: int = 100  # at most so many
    patience: int = 20  # stop after so many epochs in which neither the criterion nor the validation loss got better
    batch_size: int = 100  # queries a step
    learning_rate: float = 1e-4  # of Adam
    gradient_clip: float = 1.0  # largest norm of the gradient
    precision: Precision = "float32"  # of matrix products
    # the input that each sample gets from another one (`vmr.data.blind`), anew in every epoch
    exchanged: Exchanged | None = None
    # what losses may look at. With ``pairs`` the validation loss chooses the epoch, and not mIoU, which needs spans.
    supervision: Supervision = "spans"
    negatives: int = 0  # queries about other videos for each query of a batch
    stages: tuple[Stage, ...] = (Stage(),)  # one after the other, each with an optimizer and a patience of its own

    @property
    def chosen_by(self) -> str:
        """The column of the history by which the best epoch is chosen."""
        return CRITERION if self.supervision == "spans" else PATIENCE_LOSS


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0  # the best one of the stage, from 1; 0 before the first
    best_score: float = -math.inf  # its score: `CRITERION` in percent, or minus the loss where the loss chooses
    # its weights, on the CPU. They are saved with the rest of the state, so that weights which another run left in the
    # folder cannot be taken for them.
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    lowest_loss: float = math.inf  # the lowest `PATIENCE_LOSS` so far
    last_gain: int = 0  # the last epoch in which one of the two got better
    history: list[dict[str, Any]] = field(default_factory=list)  # one row an epoch
    stage: int = 0  # number of the stage, from 0
    stage_began: int = 0  # epochs that were finished when it began


def fit(
    model: MomentNetwork[Any],
    collator: Collator,
    train: Samples,
    selection: Samples | None,
    *,
    settings: LoopSettings,
    folder: Path,
    fingerprint: str,
) -> Progress:
    """Train to the end; `model` then has the weights of the chosen epoch.

    The state is saved after every epoch. An epoch's random numbers are a function of seed and epoch alone, so
    that a run that was killed and started again ends in the same weights as an undisturbed one.

    Args:
        selection: samples by which the best epoch is chosen; None: the last epoch is taken.
        fingerprint: of settings, inputs and code; a state left by a run with another one is not used.

    Raises:
        TrainingError: the loss is not a number.
        ShardError: the disk is full or the folder cannot be written.
    """
    if selection is not None and settings.exchanged is not None:
        selection = exchange_input(selection, settings.exchanged, seed=EVALUATION_SEED, besides=train)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    state = load_state(folder / STATE_FILE, fingerprint=fingerprint)
    progress = Progress(**state["progress"]) if state else Progress()
    if state:
        log.info("going on after epoch %d", progress.epoch)
        model.load_state_dict(state["model"])
    lengths = _epochs_of(settings)
    with (
        writing(folder),
        _writer(folder, progress.epoch) as writer,
        tqdm(total=settings.epochs, initial=progress.epoch, desc="train", unit="epoch", disable=None) as bar,
    ):
        while True:
            stage = settings.stages[progress.stage]
            step = _stage_step(model, stage, trainable, settings, capturable=collator.device.type == "cuda")
            if state:
                step.optimizer.load_state_dict(state["optimizer"])
                state = None
            end = progress.stage_began + lengths[progress.stage]
            while progress.epoch < end and (
                selection is None or progress.epoch - progress.last_gain < settings.patience
            ):
                row = _epoch(step, collator, train, selection, settings, stage, epoch=progress.epoch + 1)
                progress.epoch += 1
                progress.history.append(row)
                if selection is not None:
                    _compare(model, progress, row, settings)
                _save(model, step.optimizer, progress, folder, fingerprint)
                _report(row, writer, bar)
            if selection is not None:
                model.load_state_dict(progress.best_weights)
            if progress.stage + 1 == len(settings.stages):
                break
            progress = Progress(
                epoch=progress.epoch,
                history=progress.history,
                stage=progress.stage + 1,
                stage_began=progress.epoch,
                last_gain=progress.epoch,
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)
    with writing(folder):
        # Once more: whoever started a job again after its last epoch may have removed it, as Snakemake does.
        _write_history(progress, folder)
    if selection is None:
        progress.best_epoch = progress.epoch
    return progress


def _epochs_of(settings: LoopSettings) -> list[int]:
    """The most epochs of each stage, at least one."""
    ends = np.cumsum([stage.share for stage in settings.stages]) * settings.epochs
    return [max(1, int(epochs)) for epochs in np.diff(np.round(ends), prepend=0)]


def _stage_step(
    model: MomentNetwork[Any], stage: Stage, trainable: Sequence[str], settings: LoopSettings, *, capturable: bool
) -> TrainingStep:
    """A step of a stage with a new optimizer; parameters that it does not train want no gradient and have none."""
    if unknown := [name for name in stage.evaluated if name not in dict(model.named_modules())]:
        raise ValueError(f"stage {stage.name}: the network has no module {unknown[0]}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable and name.startswith(stage.trained))
        parameter.grad = None
    optimizer = torch.optim.Adam(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate * stage.rate_factor,
        fused=True,
        capturable=capturable,
    )
    return TrainingStep(
        model, optimizer, gradient_clip=settings.gradient_clip, precision=settings.precision, stage=stage.name
    )


def _epoch(
    step: TrainingStep,
    collator: Collator,
    train: Samples,
    selection: Samples | None,
    settings: LoopSettings,
    stage: Stage,
    *,
    epoch: int,
) -> dict[str, Any]:
    """Train and validate once; a row of the history."""
    begin = time.perf_counter()
    row: dict[str, Any] = _train_epoch(step, collator, train, settings, epoch=epoch, evaluated=stage.evaluated)
    if selection is not None:
        try:
            row |= validation_scores(
                step.model, collator, selection, batch_size=2 * settings.batch_size, precision=settings.precision,
                supervision=settings.supervision, negatives=settings.negatives,
            )  # fmt: skip
        except TrainingError as error:
            raise TrainingError(f"after epoch {epoch} {error}. {_ADVICE}") from error
    named = {"stage": stage.name} if len(settings.stages) > 1 else {}
    rate = {"learning_rate": settings.learning_rate * stage.rate_factor}
    return {"epoch": epoch, **named, **row, **rate, "seconds": time.perf_counter() - begin}


def _train_epoch(
    step: TrainingStep,
    collator: Collator,
    train: Samples,
    settings: LoopSettings,
    *,
    epoch: int,
    evaluated: Sequence[str] = (),
) -> dict[str, Any]:
    step.model.train()
    for name in evaluated:
        step.model.get_submodule(name).eval()
    if settings.exchanged is not None:
        # Not the numbers of the order of batches, which must have nothing to do with who is exchanged for whom.
        train = exchange_input(train, settings.exchanged, seed=(settings.seed, epoch, 1))
    torch.manual_seed(_seed(settings.seed, epoch))
    step_counts = collator.videos.counts[train.video].numpy()
    batches = training_batches(step_counts, batch_size=settings.batch_size, seed=settings.seed, epoch=epoch)
    losses: list[Tensor] = []
    for number, rows in enumerate(batches):
        if collator.device.type == "cuda":
            # Each step begins anew: a recorded one draws other amounts of random numbers than one that is not.
            torch.cuda.manual_seed(_seed(settings.seed, epoch, number))
        batch = collator(train, rows)
        targets = collator.targets(
            train, rows, batch, supervision=settings.supervision, negatives=settings.negatives,
            seed=(settings.seed, epoch, number),
        )  # fmt: skip
        losses.append(step(batch, targets))
        if number % _STEPS_BETWEEN_CHECKS == 0 or number + 1 == len(batches):
            _check_finite(losses, batches, train, epoch)
    sizes = torch.tensor([float(len(rows)) for rows in batches])
    means = (sizes @ torch.stack(losses).float().cpu() / sizes.sum()).tolist()
    return dict(zip(step.names, means, strict=True))


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def _check_finite(losses: list[Float[Tensor, "_"]], batches: list[Any], train: Samples, epoch: int) -> None:
    recent = losses[-_STEPS_BETWEEN_CHECKS:]
    finite = torch.stack(recent).isfinite().all(dim=1).tolist()
    if all(finite):
        return
    step = len(losses) - len(recent) + finite.index(False)
    queries = ", ".join(train.query_ids[row] for row in batches[step])
    raise TrainingError(
        f"the loss or its gradient is not a number at step {step + 1} of epoch {epoch}, in the batch of the queries "
        f"{queries}. {_ADVICE}"
    )


def _compare(model: MomentNetwork[Any], progress: Progress, row: dict[str, Any], settings: LoopSettings) -> None:
    """Note whether the epoch is better than those before, and keep its weights if it is the best."""
    if row[PATIENCE_LOSS] < progress.lowest_loss:
        progress.lowest_loss, progress.last_gain = row[PATIENCE_LOSS], progress.epoch
    score = row[CRITERION] if settings.chosen_by == CRITERION else -row[PATIENCE_LOSS]
    if score > progress.best_score:
        progress.best_epoch, progress.best_score = progress.epoch, score
        progress.last_gain, progress.best_weights = progress.epoch, _weights(model)


def _weights(model: MomentNetwork[Any]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _save(
    model: MomentNetwork[Any], optimizer: torch.optim.Optimizer, progress: Progress, folder: Path, fingerprint: str
) -> None:
    state = {
        "fingerprint": fingerprint,
        "model": _weights(model),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
    }
    save_state(folder / STATE_FILE, state)
    _write_history(progress, folder)


def _write_history(progress: Progress, folder: Path) -> None:
    with atomic_path(folder / HISTORY_FILE) as temporary:
        pd.DataFrame(progress.history).to_csv(temporary, index=False)


def _writer(folder: Path, finished: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    if not finished:
        for path in (folder / TENSORBOARD_FOLDER).glob("events.*"):
            path.unlink()
    return SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=finished + 1)


def _report(row: dict[str, Any], writer: "SummaryWriter", bar: Any) -> None:
    epoch = int(row["epoch"])
    for name, value in row.items():
        if name not in ("epoch", "stage"):
            writer.add_scalar(f"{_SCALAR_GROUPS.get(name, 'train')}/{name}", value, epoch)
    bar.update()
    bar.set_postfix({name: f"{row[name]:.3g}" for name in ("loss", CRITERION) if name in row})
    shown = {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in row.items()}
    log.info("%s", ", ".join(f"{name} {value}" for name, value in shown.items()))
