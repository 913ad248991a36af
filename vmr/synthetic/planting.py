"""Simulated features of one video: what its sentences say, weakly, in about the seconds that they name.

Not in the paper: made because no public features let every reading of Eqs. 7 to 9 be tried at the size of
Charades-STA without its videos. What real features have and a planted signal must therefore have too: a meaning
that is only partly there, words where they do not belong, noise that neighbouring steps share because their
windows overlap, and boundaries that are not quite those of the annotator.

Shapes: N steps, M moments, W words, R hidden numbers, D numbers of a feature.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float64

from vmr.config.feature_sections import Recipe
from vmr.synthetic.directions import content_words, generator, mixing_matrix, word_direction

# A planted or distracting moment is never shorter: below, its trace would be lost between two steps.
_SHORTEST_SEC = 1.0
# Noise of each number of a feature by itself, as a share of the hidden noise.
_OWN_NOISE = 0.1

Moment = tuple[float, float, str]
Span = tuple[float, float]
_Trace = Float64[np.ndarray, "N"]
_Noise = Float64[np.ndarray, "N R"]


@dataclass(frozen=True)
class SimulatedVideo:
    """Features of one video and where its moments were planted."""

    features: Float16[np.ndarray, "N D"]  # one vector a step, half precision
    planted_sec: list[Span]  # start and end of each moment as planted, in the order of the moments given
    distractor_sec: list[Span]  # start and end of each distractor
    noise: float  # the level of the video's hidden noise


def simulate_video(video_id: str, moments: Sequence[Moment], *, duration_sec: float, recipe: Recipe) -> SimulatedVideo:
    """Simulate the features of one video: ceil(duration * fps / stride) steps.

    Args:
        video_id: gives, with the recipe's seed, all random numbers: the result depends on no other video, and not on
            the order of the moments.
    """
    steps = max(math.ceil(round(duration_sec / (recipe.stride / recipe.fps), 6)), 1)
    hidden = np.zeros((steps, recipe.rank))
    planted: list[Span] = []
    for start, end, sentence in moments:
        random = generator(recipe.seed, "moment", video_id, start, end, sentence)
        span = _jittered((start, end), random, duration_sec=duration_sec, jitter=recipe.jitter)
        planted.append(span)
        words = _shown_words(sentence)
        seen = [word for word in words if random.random() < recipe.word_share] or [words[random.integers(len(words))]]
        hidden += _trace(span, steps, duration_sec, recipe)[:, None] * _meaning(seen, len(words), recipe)
    random = generator(recipe.seed, "video", video_id)
    level = float(recipe.noise[random.integers(len(recipe.noise))])
    distractors: list[Span] = []
    ordered = sorted(zip(moments, planted, strict=True))
    for _ in range(recipe.distractors if ordered else 0):
        (_, _, sentence), own = ordered[random.integers(len(ordered))]
        words = _shown_words(sentence)
        shown = list(random.permutation(words)[: math.ceil(len(words) / 2)])
        elsewhere = _elsewhere(own, random, duration_sec=duration_sec)
        if elsewhere is not None:
            distractors.append(elsewhere)
            trace = _trace(elsewhere, steps, duration_sec, recipe)
            hidden += trace[:, None] * _meaning(shown, len(words), recipe)
    hidden += recipe.scene * random.normal(size=recipe.rank)
    hidden += level * _overlapping_noise(random, steps, recipe)
    features = hidden @ mixing_matrix(rank=recipe.rank, dim=recipe.dim, seed=recipe.seed)
    features += _OWN_NOISE * level * random.normal(size=features.shape)
    return SimulatedVideo(features.astype(np.float16), planted, distractors, level)


def _shown_words(sentence: str) -> list[str]:
    # A sentence without letters, such as "123.", has a meaning of its own too.
    return content_words(sentence) or [sentence]


def _meaning(seen: Sequence[str], words: int, recipe: Recipe) -> Float64[np.ndarray, "R"]:
    """Sum of the directions of the words seen, of length about `strength` when all `words` of a sentence are seen."""
    total = np.zeros(recipe.rank)
    for word in seen:
        total += word_direction(word, rank=recipe.rank, seed=recipe.seed)
    return total * (recipe.strength / math.sqrt(words))


def _trace(span: Span, steps: int, duration_sec: float, recipe: Recipe) -> _Trace:
    """Share of each step's window, as far as it lies in the video, that a span fills."""
    centre = (np.arange(steps) + 0.5) * (recipe.stride / recipe.fps)
    half = recipe.window / recipe.fps / 2
    begin, end = np.maximum(centre - half, 0.0), np.minimum(centre + half, duration_sec)
    overlap = np.minimum(end, span[1]) - np.maximum(begin, span[0])
    share: _Trace = np.maximum(overlap, 0.0) / np.maximum(end - begin, 1e-9)
    return share


def _overlapping_noise(random: np.random.Generator, steps: int, recipe: Recipe) -> _Noise:
    """Noise of standard deviation 1 that steps share as far as their windows overlap."""
    width = max(round(recipe.window / recipe.stride), 1)
    total = np.cumsum(random.normal(size=(steps + width, recipe.rank)), axis=0)
    moving: _Noise = (total[width:] - total[:-width]) / math.sqrt(width)
    return moving


def _jittered(span: Span, random: np.random.Generator, *, duration_sec: float, jitter: float) -> Span:
    """A span as another annotator might have drawn it, inside the video."""
    deviation = jitter * (span[1] - span[0])
    start, end = sorted(random.normal(edge, deviation) for edge in span)
    lacking = max(_SHORTEST_SEC - (end - start), 0.0) / 2
    start, end = (float(np.clip(edge, 0.0, duration_sec)) for edge in (start - lacking, end + lacking))
    if end - start < min(_SHORTEST_SEC, duration_sec):  # cut by an end of the video
        start = min(start, max(duration_sec - _SHORTEST_SEC, 0.0))
        end = min(start + _SHORTEST_SEC, duration_sec)
    return start, end


def _elsewhere(own: Span, random: np.random.Generator, *, duration_sec: float) -> Span | None:
    """A span about as long as `own` before or after it, as far as there is room; None where there is none."""
    length = (own[1] - own[0]) * random.uniform(0.5, 1.0)
    gaps = [(0.0, own[0]), (own[1], duration_sec)]
    room = np.array([end - start for start, end in gaps])
    if room.max() < _SHORTEST_SEC:
        return None
    start, end = gaps[random.choice(2, p=np.where(room < _SHORTEST_SEC, 0.0, room) / room[room >= _SHORTEST_SEC].sum())]
    length = min(max(length, _SHORTEST_SEC), end - start)
    begin = float(random.uniform(start, end - length))
    return begin, begin + length
