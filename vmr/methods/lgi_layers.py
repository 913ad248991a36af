"""Layers of LGI: phrases from words, phrases met with steps, and each step met with its neighbours.

Shapes: B queries of a batch, U different videos of them, N steps, L words, P phrases, H width, Q sentence.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.masks import masked_softmax


class PhraseAttention(nn.Module):
    """The sequential query attention network: one phrase after the other, each knowing the one before.

    ``g = relu(W_g [W_n q, e_before])`` guides the n-th phrase, ``a = softmax(w . tanh(W_1 g + W_2 words))`` weighs
    the words, and the phrase is their weighted sum; before the first stands a phrase of zeros.
    """

    def __init__(self, dim: int, *, phrases: int) -> None:
        super().__init__()
        inner = max(dim // 2, 1)
        self.sentence = nn.ModuleList(nn.Linear(dim, dim) for _ in range(phrases))
        self.guide = nn.Linear(2 * dim, dim)
        self.of_guide = nn.Linear(dim, inner)
        self.of_words = nn.Linear(dim, inner, bias=False)
        self.score = nn.Linear(inner, 1, bias=False)

    def forward(
        self, words: Float[Tensor, "B L Q"], sentence: Float[Tensor, "B Q"], word_mask: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B P Q"], Float[Tensor, "B P L"]]:
        """The phrases, and their weights of the words."""
        of_words = self.of_words(words)
        phrase = torch.zeros_like(sentence)
        phrases, weights = [], []
        for layer in self.sentence:
            guide = torch.relu(self.guide(torch.cat([layer(sentence), phrase], dim=-1)))
            scores = self.score(torch.tanh(self.of_guide(guide)[:, None] + of_words)).squeeze(-1)
            weight = masked_softmax(scores, word_mask, dim=1)
            phrase = (weight.to(words.dtype)[:, None] @ words).squeeze(1)
            phrases.append(phrase)
            weights.append(weight)
        return torch.stack(phrases, dim=1), torch.stack(weights, dim=1)


class PhraseFusion(nn.Module):
    """Steps met with each phrase: ``W_m (W_s step * W_e phrase)``, with weights of its own for each phrase.

    As in the paper; the authors' code has ReLUs in between.
    """

    def __init__(self, dim: int, phrase_dim: int, *, phrases: int) -> None:
        super().__init__()
        self.of_steps = nn.ModuleList(nn.Linear(dim, dim) for _ in range(phrases))
        self.of_phrases = nn.ModuleList(nn.Linear(phrase_dim, dim) for _ in range(phrases))
        self.output = nn.ModuleList(nn.Linear(dim, dim) for _ in range(phrases))

    def forward(
        self, steps: Float[Tensor, "U N H"], phrases: Float[Tensor, "B P Q"], video: Int[Tensor, "B"]
    ) -> Float[Tensor, "B P N H"]:
        """One row of steps for each phrase."""
        layers = zip(self.of_steps, self.of_phrases, self.output, phrases.unbind(1), strict=True)
        fused = [
            output(of_steps(steps).index_select(0, video) * of_phrases(phrase)[:, None])
            for of_steps, of_phrases, output, phrase in layers
        ]
        return torch.stack(fused, dim=1)


class LocalContext(nn.Module):
    """A residual block of two convolutions over time, the same for all phrases; half the width between them.

    Each convolution is normalised: the products of steps and phrases begin at a hundredth of the steps' size. The
    authors' code normalises by batches, whose means would make answers depend on batch mates, and has a block of its
    own for each phrase, at full width (512) throughout.
    """

    def __init__(self, dim: int, *, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; expected an odd number, so that as many steps come out as go in")
        inner = max(dim // 2, 1)
        self.first = nn.Conv1d(dim, inner, kernel, padding=kernel // 2)
        self.second = nn.Conv1d(inner, dim, kernel, padding=kernel // 2)
        self.norms = nn.ModuleList([nn.LayerNorm(inner), nn.LayerNorm(dim)])

    def forward(self, x: Float[Tensor, "B P N H"], step_mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B P N H"]:
        """``relu(x + norm(conv(relu(norm(conv(x))))))``; what stands after the last step means nothing.

        Args:
            step_mask: True at real steps; the others count as zeros, as do those before the first.
        """
        mask = step_mask[:, None, None].expand(-1, x.shape[1], -1, -1).flatten(0, 1)
        rows = x.flatten(0, 1).transpose(1, 2) * mask
        inner = F.relu(self.norms[0](self.first(rows).transpose(1, 2)).transpose(1, 2)) * mask
        return F.relu(rows.transpose(1, 2) + self.norms[1](self.second(inner).transpose(1, 2))).reshape(x.shape)
