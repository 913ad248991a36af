"""The catalogue of methods, and what derives from it outside of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

from vmr.errors import ConfigError
from vmr.methods.catalogue import METHODS, method_digest, method_named, methods_table

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


def test_the_readme_has_the_table_of_methods() -> None:
    assert methods_table() in (ROOT / "README.md").read_text(encoding="utf-8"), (
        "stale: put what `vmr config methods` prints between the marks of README.md"
    )


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys, vmr.config, vmr.methods.catalogue as c; c.method_digest('lgi'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean `vslnet`"):
        method_named("vslmet")


def test_a_digest_belongs_to_one_network() -> None:
    digests = {name: method_digest(name) for name in METHODS}
    assert len(set(digests.values())) == len(digests)
