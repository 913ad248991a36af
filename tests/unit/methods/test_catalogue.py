"""The catalogue of methods, and what derives from it outside of the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vmr.errors import ConfigError
from vmr.methods.catalogue import (
    METHODS,
    method_digest,
    method_named,
    method_settings,
    methods_table,
    sections_model,
)
from vmr.methods.entry import BLOCKS

ROOT = Path(__file__).parents[3]


def test_entries_are_whole() -> None:
    titles = [method.title for method in METHODS.values()]
    assert len(set(titles)) == len(titles)
    looks = [(method.look.light, method.look.dash, method.look.mark) for method in METHODS.values()]
    assert len(set(looks)) == len(looks)
    for method in METHODS.values():
        assert sum(stage.share for stage in method.stages) == pytest.approx(1.0)
        assert (not method.variant_of) == (not method.lacks)
        assert not method.variant_of or METHODS[method.variant_of].settings is method.settings
        assert (method.exchanged is not None) == method.name.endswith("_blind")


def test_methods_stand_by_blocks_and_each_has_a_query_blind_self() -> None:
    blocks = [BLOCKS.index(method.block) for method in METHODS.values()]
    assert blocks == sorted(blocks) and list(METHODS)[-1] == "ci_mha"
    named = {name: METHODS[name].block for name in ("ci_mha_video_blind", "tga", "tan_2d", "drn", "tga_query_blind")}
    assert list(named.values()) == [
        *("baselines", "weakly supervised", "proposals", "span regression and boundaries", "baselines"),
    ]
    for name, method in METHODS.items():
        if not method.exchanged:
            blind = METHODS[f"{name}_query_blind"]
            assert (blind.exchanged, blind.variant_of) == ("query", name)
            assert (blind.network, blind.stages, blind.arguments) == (method.network, method.stages, method.arguments)


def test_a_blind_self_has_the_settings_and_the_rate_of_its_method() -> None:
    own = {
        "ci_mha": {"alignment": "pad", "learning_rate": 0.5},
        "mha": {"segmentation_weight": 2.0},
        "drn": {"overlap_from": 0.8},
    }
    sections = sections_model().model_validate(own)
    assert method_settings("drn_query_blind", sections).overlap_from == 0.8
    blind = method_settings("mha_query_blind", sections)
    assert (blind.alignment, blind.segmentation_weight, blind.learning_rate) == ("pad", 2.0, None)
    assert method_settings("mha", sections).learning_rate is None
    assert method_settings("ci_mha_query_blind", sections).learning_rate == 0.5


def test_the_docs_have_the_table_of_methods() -> None:
    assert methods_table() in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), (
        "stale: put what `vmr config methods` prints between the marks of docs/methods.md"
    )


def test_every_system_has_a_section_that_says_what_differs() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs/methods.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    linked = re.findall(r"\(#([\w-]+)\)", methods_table())
    assert sorted(linked) == sorted(section.lower() for section in sections) and len(linked) == 13


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys, vmr.config, vmr.methods.catalogue as c; c.method_digest('lgi'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_saved_network_does_not_wait_for_the_compiler_of_torch() -> None:
    sizes = {"method": "ci_mha", "video_dim": 6, "word_dim": 4, "max_steps": 8, "hidden": 8, "query_hidden": 4}
    code = (
        "import sys; from vmr.methods.build import build_network, network_with_weights\n"
        f"sizes = {sizes | {'heads': 2, 'dropout': 0.0, 'lstm_dropout': 0.0}}\n"
        "network_with_weights(sizes, build_network(**sizes).state_dict()); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean `vslnet`"):
        method_named("vslmet")


def test_a_digest_belongs_to_one_network() -> None:
    digests = {name: method_digest(name) for name in METHODS}
    assert len(set(digests.values())) == len(digests)
