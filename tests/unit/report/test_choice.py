"""`vmr.report.choice`: best, median and worst by hand, the draw by its seed."""

import numpy as np

from vmr.report.choice import choose_cases


def _choose(iou, videos=None, *, each=1, by_chance=0, miss=None, answered=None, seed=0):
    count = len(iou)
    return choose_cases(
        np.array(iou, dtype=float),
        miss=np.zeros(count) if miss is None else np.array(miss, dtype=float),
        answered_mask=np.ones(count, dtype=bool) if answered is None else np.array(answered),
        video_ids=videos or [f"v{i}" for i in range(count)],
        each=each,
        by_chance=by_chance,
        seed=seed,
    )


def test_best_median_worst():
    assert _choose([0.2, 0.9, 0.5, 0.0, 0.6]) == {1: ["best"], 2: ["median"], 3: ["worst"]}


def test_of_equal_overlap_the_nearest_is_best_and_the_farthest_worst():
    chosen = _choose([0.0, 0.0, 0.0], miss=[0.2, 0.9, 0.1])
    assert chosen == {2: ["best"], 0: ["median"], 1: ["worst"]}


def test_a_video_is_shown_once_as_long_as_there_are_others():
    iou, videos = [0.9, 0.8, 0.7, 0.1], ["a", "a", "b", "c"]
    assert list(_choose(iou, videos, each=2))[:2] == [0, 2]
    assert [own for own in _choose(iou[:2], videos[:2], each=2) if own in (0, 1)] == [0, 1]


def test_unanswered_queries_are_not_shown():
    assert set(_choose([0.0, 0.4, 0.6], answered=[False, True, True], each=3, by_chance=9)) == {1, 2}
    assert _choose([0.0], answered=[False], by_chance=3) == {}


def test_the_draw_is_a_function_of_its_seed_and_fair():
    iou = np.linspace(0, 1, 40)
    drawn = _choose(iou, each=0, by_chance=5)
    assert drawn == _choose(iou, each=0, by_chance=5)
    assert drawn != _choose(iou, each=0, by_chance=5, seed=1)
    assert all(kinds == ["random"] for kinds in drawn.values()) and len(drawn) == 5
    # Everything drawn: those of a kind keep it beside.
    both = _choose([0.1, 0.9], by_chance=2)
    assert both[1] == ["best", "random"]
