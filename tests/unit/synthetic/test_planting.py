import math

import numpy as np
import pytest

from vmr.config.feature_sections import Recipe
from vmr.synthetic.directions import content_words, mixing_matrix, word_direction
from vmr.synthetic.planting import simulate_video

MOMENTS = [
    (4.0, 14.0, "a person opens the door."),
    (18.0, 25.0, "they put a sandwich on the table."),
    (4.5, 12.0, "person walks through the doorway"),
]
CLEAN = Recipe(noise=(0.0,), scene=0.0, jitter=0.0, word_share=1.0, distractors=0)


def hidden(video, recipe):
    """The features before they were mixed; the mixing matrix has more columns than rows."""
    mixing = mixing_matrix(rank=recipe.rank, dim=recipe.dim, seed=recipe.seed)
    return video.features.astype(np.float64) @ np.linalg.pinv(mixing)


def meaning(sentence, recipe):
    words = content_words(sentence)
    total = sum(word_direction(word, rank=recipe.rank, seed=recipe.seed) for word in words)
    return recipe.strength * total / math.sqrt(len(words))


def test_without_any_noise_a_step_is_the_mean_of_what_its_frames_show():
    video = simulate_video("v", MOMENTS, duration_sec=30.0, recipe=CLEAN)
    assert video.features.shape == (90, 1024) and video.features.dtype == np.float16
    assert video.planted_sec == [(start, end) for start, end, _ in MOMENTS]
    # 96 thin frames a second, each with the meaning of every moment that it lies in.
    times = (np.arange(30 * 96) + 0.5) / 96
    frames = sum(
        ((times > start) & (times < end))[:, None] * meaning(sentence, CLEAN) for start, end, sentence in MOMENTS
    )
    expected = np.stack([
        frames[np.abs(times - (step + 0.5) / 3) < 64 / 24 / 2].mean(axis=0) for step in range(90)
    ])  # fmt: skip
    assert np.abs(hidden(video, CLEAN) - expected).max() < 0.01 * CLEAN.strength


def test_a_video_depends_on_its_id_and_seed_and_on_nothing_else():
    recipe = Recipe(dim=64, rank=16)
    first = simulate_video("v", MOMENTS, duration_sec=30.0, recipe=recipe)
    simulate_video("w", MOMENTS, duration_sec=10.0, recipe=recipe)
    again = simulate_video("v", MOMENTS[::-1], duration_sec=30.0, recipe=recipe)
    # Sums in another order: the last bit of half precision may differ.
    np.testing.assert_allclose(first.features.astype(float), again.features.astype(float), rtol=2e-3, atol=1e-3)
    assert again.planted_sec == first.planted_sec[::-1] and again.distractor_sec == first.distractor_sec
    np.testing.assert_array_equal(
        first.features, simulate_video("v", MOMENTS, duration_sec=30.0, recipe=recipe).features
    )
    for other in (
        simulate_video("w", MOMENTS, duration_sec=30.0, recipe=recipe),
        simulate_video("v", MOMENTS, duration_sec=30.0, recipe=Recipe(dim=64, rank=16, seed=1)),
    ):
        assert np.abs(other.features - first.features).max() > 0.1
        assert other.planted_sec != first.planted_sec


def test_sentences_can_be_read_in_their_planted_spans():
    recipe = Recipe()
    inside, outside, spans = [], [], []
    for number in range(40):
        video = simulate_video(f"video{number}", MOMENTS[:2], duration_sec=30.0, recipe=recipe)
        numbers = hidden(video, recipe)
        centre = (np.arange(len(numbers)) + 0.5) / 3
        for (start, end, sentence), planted in zip(MOMENTS[:2], video.planted_sec, strict=True):
            direction = meaning(sentence, recipe)
            cosine = numbers @ direction / np.linalg.norm(numbers, axis=1) / np.linalg.norm(direction)
            within = (centre > planted[0]) & (centre < planted[1])
            inside.append(cosine[within].mean())
            outside.append(cosine[~within].mean())
            spans.append([planted[0] - start, planted[1] - end])
    # Weak: far from 1 inside, and not so for each single video; but there on the whole.
    assert np.mean(inside) - np.mean(outside) > 0.1
    assert np.mean(np.array(inside) > np.array(outside)) > 0.8
    assert np.mean(inside) < 0.6
    # Boundaries deviate by 0.15 of 10 and 7 seconds: 80 draws each for start and end.
    assert 0.15 * 8.5 * 0.75 < np.std(spans) < 0.15 * 8.5 * 1.25


def test_distractors_show_half_of_the_words_outside_of_the_moment():
    recipe = Recipe(noise=(0.0,), scene=0.0, jitter=0.0, word_share=1.0, distractors=1, window=8)
    shown = 0
    for number in range(10):
        video = simulate_video(f"v{number}", MOMENTS[:1], duration_sec=30.0, recipe=recipe)
        ((begin, end),) = video.distractor_sec
        assert end <= 4.0 or begin >= 14.0
        centre = (np.arange(90) + 0.5) / 3
        row = hidden(video, recipe)[(centre > begin + 0.2) & (centre < end - 0.2)].mean(axis=0)
        words = content_words(MOMENTS[0][2])
        directions = np.stack([word_direction(word, rank=recipe.rank, seed=0) for word in words])
        weights = np.linalg.lstsq(directions.T, row, rcond=None)[0] * math.sqrt(len(words)) / recipe.strength
        # Two of `person`, `opens`, `door`.
        assert sorted(weights.round(1)) == [0.0, 1.0, 1.0]
        shown += 1
    assert shown == 10


def test_noise_has_its_level_and_is_shared_by_overlapping_windows():
    recipe = Recipe(noise=(0.5,), scene=0.0, distractors=0)
    numbers = hidden(simulate_video("v", [], duration_sec=600.0, recipe=recipe), recipe)
    assert np.std(numbers) == pytest.approx(0.5, rel=0.05)
    centred = numbers - numbers.mean(axis=0)
    correlation = [np.mean(centred[:-lag] * centred[lag:]) / np.var(centred) for lag in (1, 4, 8, 20)]
    # Windows of 64 frames every 8 share seven, four and no eighths.
    np.testing.assert_allclose(correlation, [7 / 8, 1 / 2, 0, 0], atol=0.05)


def test_every_level_of_noise_occurs():
    recipe = Recipe(dim=8, rank=4, noise=(0.25, 0.5, 2.0))
    levels = {simulate_video(f"v{number}", MOMENTS, duration_sec=30.0, recipe=recipe).noise for number in range(30)}
    assert levels == {0.25, 0.5, 2.0}


@pytest.mark.parametrize(
    ("moment", "duration"),
    [
        ((0.0, 0.1, "door"), 30.0),
        ((29.9, 31.0, "door"), 30.0),
        ((0.0, 0.4, "door"), 0.5),
        ((0.0, 5.0, "it"), 5.0),
        ((3.0, 9.0, "123."), 30.0),
    ],
)
def test_short_and_overhanging_moments_stay_in_the_video(moment, duration):
    for number in range(20):
        video = simulate_video(f"v{number}", [moment], duration_sec=duration, recipe=Recipe(dim=8, rank=4))
        ((start, end),) = video.planted_sec
        assert start >= 0.0 and end <= duration and end - start >= min(1.0, duration) - 1e-9
        assert np.isfinite(video.features).all() and len(video.features) == math.ceil(duration * 3)
