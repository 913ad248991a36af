"""The throughput model, by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from vmr.pipeline import estimate

PATH = Path(__file__).parents[3] / "benchmarks" / "throughput.py"


@pytest.fixture(scope="module")
def throughput():
    spec = importlib.util.spec_from_file_location("vmr_benchmarks_throughput", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_pace_and_what_holds_it_back(throughput):
    costs = throughput.Costs(300.0, 100.0, 3200.0, 800.0, 900.0, (100.0, 300.0), (150.0, 700.0), 44.0)
    # Without cards 3,600 seconds of core do one video-hour; an hour of video is 10,800 steps, 108 s at 100 a second.
    assert throughput.pace(costs, cores=2, cards=0, card_steps_per_sec=100) == (2.0, "I3D on the cores")
    assert throughput.pace(costs, cores=2, cards=1, card_steps_per_sec=100) == (18.0, "decoding")
    speed, limit = throughput.pace(costs, cores=16, cards=2, card_steps_per_sec=100)
    assert (round(speed, 3), limit) == (66.667, "cards")


def test_costs_are_those_of_the_committed_measurements(throughput):
    costs = throughput.measured_costs()
    assert costs.features_gb == pytest.approx(10_800 * 1024 * 4 / 1e9)
    assert costs.raw_gb[0] < costs.frames_gb[1] < 4 * costs.raw_gb[1]
    assert costs.i3d_continuous < costs.i3d_windows
    assert "| 1,000,000 video-hours need |" in throughput.report(costs, hours=1e6, days=30, card_steps_per_sec=100)


def test_forecasts_have_their_figures(throughput):
    costs = throughput.measured_costs()
    own = (estimate.DECODE, estimate.READ, estimate.WINDOWS, estimate.CONTINUOUS, estimate.C3D)
    found = (costs.decode, costs.read, costs.i3d_windows, costs.i3d_continuous, costs.c3d)
    assert own == tuple(map(round, found))
    assert pytest.approx(costs.raw_gb, abs=5e-4) == estimate.RAW_GB
    assert pytest.approx(costs.frames_gb, abs=5e-4) == estimate.FRAMES_GB
    results = PATH.parent / "results"
    ways = read_json(results / "i3d_variants.json")["ways"]
    assert ways["in float32"]["share_of_ours"] == pytest.approx(estimate.FLOAT32_NETWORK, abs=5e-3)
    steps = read_json(results / "training_step.json")["seconds"]["charades_typical_length"]
    ratio = steps["float32"]["training_step_median_sec"] / steps["bfloat16"]["training_step_median_sec"]
    assert ratio == pytest.approx(estimate.FLOAT32_TRAINING, abs=5e-3)


def read_json(path):
    return json.loads(path.read_text())
