"""TripNet (Hahn et al., BMVC 2020): a window that a policy moves over the video until it says that it is there.

Shapes: B queries of a batch, U different videos of them, N steps, K rollouts, S moves of a rollout, P kinds of moves,
H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmr.model.batch import Batch, Targets
from vmr.model.decode import RankedSpans, single_spans
from vmr.model.encoders import QueryEncoder, VideoEncoder, last_states
from vmr.model.grid import interval_weights
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single
from vmr.model.network import MomentNetwork
from vmr.model.prediction import Evidence, Prediction
from vmr.model.spans import temporal_iou

# Changes of start and end as shares of the video; the last one stops. A thirtieth is a second of Charades-STA.
SHIFTS = (
    (-0.2, -0.2), (0.2, 0.2), (-0.1, -0.1), (0.1, 0.1), (-1 / 30, -1 / 30), (1 / 30, 1 / 30), (0.0, 0.0),
)  # fmt: skip
RESIZES = ((-0.1, -0.1), (0.1, 0.1), (-0.1, 0.0), (0.1, 0.0), (0.0, -0.1), (0.0, 0.1), (0.0, 0.0))
_MOVES = 10
_LEAST = 0.05  # share of the video that a window keeps


@dataclass(frozen=True)
class TripPrediction(Prediction):
    """Where each query's window went, in several rollouts in training."""

    # before each move and after the last, as shares of the video; they rest after the stop
    windows: Float[Tensor, "B K _ 2"]
    log_policy: Float[Tensor, "B K S"]  # logarithm of the probability of each move that was made
    log_stop: Float[Tensor, "B K S"]  # logarithm of the probability to stop at each window
    entropy: Float[Tensor, "B K S"]  # of the policy there
    value: Float[Tensor, "B K S"]  # what is expected of the rest of the rollout there
    moving_mask: Bool[Tensor, "B K S"]  # True until the stop, which counts itself
    stop_mask: Bool[Tensor, "B K S"]  # True at the stop
    looks: Float[Tensor, "B N"]  # share of its looks that each step got, 0 after the last step

    def ranked(self, start_sec: Tensor, end_sec: Tensor, *, top: int = 1, nms_threshold: float = 0.5) -> RankedSpans:
        """The last window of each query, see `vmr.model.decode.single_spans`; R@5 is then R@1."""
        return single_spans(self.windows[:, 0, -1], start_sec, end_sec, top=top)

    def curves(self) -> dict[str, Float[Tensor, "B N"]]:
        """The share of its looks that each step got."""
        return {"attention": self.looks}

    def evidence(self, own_mask: Bool[Tensor, "B N"]) -> Evidence:
        """How sure the policy was to stop when it looked last."""
        last = self.moving_mask[:, 0].sum(dim=1, keepdim=True) - 1
        return Evidence(log_weight=self.log_stop[:, 0].gather(1, last).squeeze(1))


class TripNet(MomentNetwork[TripPrediction]):
    """TripNet: gated attention, and a policy that is trained as actor and critic. Almost all of it is a reading.

    The abstract has the gate, and a window that is moved by reinforcement learning. Moves, state, reward and losses
    are from memory of the paper, or from the released code of a neighbour ("Read, Watch, Move"). Not in the paper:
    features are standardised, word vectors frozen; a bi-LSTM reads the sentence instead of a GRU. The state also tells
    where the window lies. Each query has several rollouts in a training step, as the paper's A3C has several workers.
    The window begins in the middle of the video, and a rollout ends after ten moves.

    Args:
        hidden: width of the gated features and of the state (reading: 1024).
        resizes: whether moves also change the window's length (the neighbour); else they shift it (the paper).
        discount: of later rewards (reading: 0.9).
        step_cost: taken from the reward of every move (reading: 0.01).
        entropy_weight: of the policy's entropy, which keeps it from choosing too early (reading: 0.05).
        value_weight: of the squared error of the expected rewards.
    """

    exact_gradient = False
    changes: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        resizes: bool,
        window: float,
        rollouts: int,
        discount: float,
        step_cost: float,
        entropy_weight: float,
        value_weight: float,
    ) -> None:
        super().__init__()
        self.window, self.rollouts, self.discount, self.step_cost = window, rollouts, discount, step_cost
        self.entropy_weight, self.value_weight = entropy_weight, value_weight
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.gate = nn.Linear(2 * query_hidden, hidden)
        self.seen = nn.Linear(hidden + 2, hidden)
        self.memory = nn.LSTMCell(hidden, hidden)
        changes = RESIZES if resizes else SHIFTS
        self.policy, self.value = nn.Linear(hidden, len(changes)), nn.Linear(hidden, 1)
        self.register_buffer("changes", torch.tensor(changes, dtype=torch.float64), persistent=False)

    def forward(self, batch: Batch) -> TripPrediction:
        """Ten moves of each query's window: drawn from the policy in training, else the most probable ones."""
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        gate = self.gate(last_states(encoded, batch.word_counts)).sigmoid()[:, None]
        steps = self.video_encoder(batch.features).index_select(0, batch.video)
        size, count = len(steps), self.rollouts if self.training else 1
        counts, changes = batch.step_counts.to(steps.device), at_least_single(self.changes.to(steps.dtype))
        window = torch.stack([changes.new_full((size, count), 0.5 + side * self.window / 2) for side in (-1, 1)], dim=2)
        moving = torch.ones(size, count, dtype=torch.bool, device=steps.device)
        looks = changes.new_zeros(size, steps.shape[1])
        state: tuple[Tensor, Tensor] | None = None
        windows, made = [window], []
        for _ in range(_MOVES):
            weights = interval_weights(counts, steps.shape[1], window)
            looks = looks + weights[:, 0].to(looks.dtype) * moving[:, :1]
            rows = torch.cat([weights.to(steps.dtype) @ steps * gate, window.to(steps.dtype)], dim=2)
            state = self.memory(torch.relu(self.seen(rows)).flatten(0, 1), state)
            log_policy = at_least_single(self.policy(state[0])).log_softmax(dim=1).view(size, count, -1)
            value = at_least_single(self.value(state[0])).view(size, count)
            # The largest after noise of Gumbel's kind is a draw from the policy.
            noise = -torch.empty_like(log_policy).exponential_().log() if self.training else 0.0
            move = (log_policy.detach() + noise).argmax(dim=2, keepdim=True)
            stop = move.squeeze(2) == len(changes) - 1
            entropy = -(log_policy.exp() * log_policy).sum(dim=2)
            own = log_policy.gather(2, move).squeeze(2)
            made.append((own, log_policy[..., -1], entropy, value, moving, stop & moving))
            moving = moving & ~stop
            window = torch.where(moving[..., None], moved(window, changes[move.squeeze(2)]), window)
            windows.append(window)
        log_own, log_stop, entropy, value, moving_mask, stop_mask = (
            torch.stack(each, dim=2) for each in zip(*made, strict=True)
        )
        return TripPrediction(
            windows=torch.stack(windows, dim=2), log_policy=log_own, log_stop=log_stop, entropy=entropy, value=value,
            moving_mask=moving_mask, stop_mask=stop_mask, looks=looks / moving_mask[:, 0].sum(dim=1, keepdim=True),
        )  # fmt: skip

    def losses(self, prediction: TripPrediction, targets: Targets) -> Losses:
        """`policy`, `value` and `entropy`; and `missed`, one less the IoU of the last window, for validation alone.

        The policy gradient: minus the logarithm of the moves made times how much more they brought than was expected.
        """
        share = targets.share.to(prediction.windows.dtype)[:, None, None]
        iou = temporal_iou(prediction.windows, share)
        mask = prediction.moving_mask.to(iou.dtype)
        reward = rewards(iou, prediction.moving_mask, prediction.stop_mask, step_cost=self.step_cost)
        surplus = returns(reward, self.discount) - prediction.value

        def mean(each: Tensor) -> Tensor:
            return (each * mask).sum() / mask.sum()

        policy = mean(-surplus.detach() * prediction.log_policy)
        value, entropy = mean(surplus.square()), mean(prediction.entropy)
        return Losses(
            total=policy + self.value_weight * value - self.entropy_weight * entropy,
            parts={"missed": (1.0 - iou[..., -1]).mean(), "policy": policy, "value": value, "entropy": entropy},
        )


def moved(window: Float[Tensor, "*B 2"], change: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Windows after a move, as far as borders and the least length allow; one that is shifted keeps its length.

    >>> changes = torch.tensor([[0.1, 0.1], [0.2, 0.2], [-0.5, 0.0], [0.0, -0.9]], dtype=torch.float64)
    >>> moved(torch.tensor([[0.25, 0.9]] * 4, dtype=torch.float64), changes).round(decimals=4).tolist()
    [[0.35, 1.0], [0.35, 1.0], [0.0, 0.9], [0.25, 0.3]]
    """
    start, end = window[..., 0], window[..., 1]
    shifts, room = change[..., 0] == change[..., 1], end - start - _LEAST
    low = torch.stack([-start, torch.where(shifts, -start, -room)], dim=-1)
    high = torch.stack([torch.where(shifts, 1.0 - end, room), 1.0 - end], dim=-1)
    return window + torch.minimum(torch.maximum(change, low), high)


def rewards(
    iou: Float[Tensor, "B K _"],
    moving_mask: Bool[Tensor, "B K S"],
    stop_mask: Bool[Tensor, "B K S"],
    *,
    step_cost: float,
) -> Float[Tensor, "B K S"]:
    """What each move brings: the growth of the temporal IoU less a cost; the stop brings the IoU; nothing after it.

    Args:
        iou: of the windows before each move and after the last.
    """
    gained = iou[..., 1:] - iou[..., :-1] + stop_mask * iou[..., :-1] - step_cost
    return gained * moving_mask


def returns(reward: Float[Tensor, "*B S"], discount: float) -> Float[Tensor, "*B S"]:
    """Rewards from each move on, later ones discounted.

    >>> returns(torch.tensor([0.0, 0.0, 1.0]), 0.5).tolist()
    [0.25, 0.5, 1.0]
    """
    found = [reward[..., -1]]
    for step in reversed(range(reward.shape[-1] - 1)):
        found.append(reward[..., step] + discount * found[-1])
    return torch.stack(found[::-1], dim=-1)
