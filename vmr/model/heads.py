"""Heads on the fused rows: start and end of the moment (Eqs. 10 to 14), and what lies inside (Eqs. 15 and 16).

Shapes: B batch, N steps, S fused row, D width.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.dropout import Dropout
from vmr.model.encoders import BiLSTM


class Mlp(nn.Sequential):
    """A perceptron with one hidden layer and one number out (Eqs. 12, 13 and 15)."""

    def __init__(self, dim: int, *, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, 1))

    def of_two(self, first: Float[Tensor, "B N F"], second: Float[Tensor, "B N S"]) -> Float[Tensor, "B N 1"]:
        """The perceptron on two inputs side by side, without the copy that `torch.cat` makes of them."""
        inner, activation, dropout, outer = self
        assert isinstance(inner, nn.Linear)
        left, right = inner.weight.tensor_split([first.shape[-1]], dim=1)
        hidden = F.linear(first, left, inner.bias) + F.linear(second, right)
        result: Tensor = outer(dropout(activation(hidden)))
        return result


class BoundaryHead(nn.Module):
    """Logits of the start and the end of the moment, the end conditioned on the start (Eqs. 10 to 13).

    Eq. 11 feeds the end's LSTM with the start's state of the step before. With LSTMs of both directions there
    is no such thing as the step before; as in ExCL, which the paper follows here, the end's LSTM runs over the
    start's states of the same steps.

    Args:
        hidden: length of the states of both directions together; even.
    """

    def __init__(self, dim: int, *, hidden: int, dropout: float, lstm_dropout: float) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"hidden is {hidden}; expected an even number, since LSTMs have two directions")
        self.start_lstm = BiLSTM(dim, hidden // 2)
        self.end_lstm = BiLSTM(hidden, hidden // 2)
        self.dropout = Dropout(lstm_dropout)
        self.start_mlp = Mlp(hidden + dim, hidden=hidden, dropout=dropout)
        self.end_mlp = Mlp(hidden + dim, hidden=hidden, dropout=dropout)

    def forward(
        self, fused: Float[Tensor, "B N S"], step_counts: Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
        """Logits c^start and c^end of every step; those after the last step mean nothing."""
        start_states = self.dropout(self.start_lstm(fused, step_counts))  # Eq. 10
        end_states = self.dropout(self.end_lstm(start_states, step_counts))  # Eq. 11
        start = self.start_mlp.of_two(start_states, fused)  # Eq. 12
        end = self.end_mlp.of_two(end_states, fused)  # Eq. 13
        return start.squeeze(-1), end.squeeze(-1)


class SegmentationHead(nn.Module):
    """Logit of lying inside the moment, for every step: its sigmoid is P_in (Eq. 15), P_out is 1 - P_in (Eq. 16)."""

    def __init__(self, dim: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mlp = Mlp(dim, hidden=hidden, dropout=dropout)

    def forward(self, fused: Float[Tensor, "B N S"]) -> Float[Tensor, "B N"]:
        """Logits of every step; those after the last step mean nothing."""
        logits: Tensor = self.mlp(fused).squeeze(-1)
        return logits
