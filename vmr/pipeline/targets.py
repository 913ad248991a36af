"""Which files the rules can make, to name the nearest one for a target that none of them makes."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from vmr.pipeline.plan import Plan


def unknown_target(target: str, patterns: Iterable[str], names: Iterable[str], plan: Plan) -> str:
    """What to say about a target that no rule makes.

    Args:
        patterns: outputs of the rules, with wildcards.
        names: of the rules that may be asked for by name.
    """
    known = list(dict.fromkeys([*names, *possible_targets(patterns, plan)]))
    # What is near by its name alone comes first: `charades_tabel.csv` stands for a result, wherever it was looked for.
    by_name = {Path(file).name: file for file in known if file.startswith("results/")}
    close = difflib.get_close_matches(target, known, n=1, cutoff=0.6)
    close = close or [by_name[name] for name in difflib.get_close_matches(Path(target).name, by_name, n=1, cutoff=0.6)]
    said = f"{target}: there is no such file, and no rule makes it"
    if close:
        return f"{said}; did you mean `{close[0]}`?"
    return (
        f"{said}. Results are results/NAME_table.csv, NAME_report.html and NAME_costs.csv, with one of "
        f"{', '.join(plan.datasets)} as NAME."
    )


def possible_targets(patterns: Iterable[str], plan: Plan) -> list[str]:
    """The files of all patterns for the datasets, shards, methods and seeds of the configuration."""
    # Snakemake writes what a wildcard may be into its place: `{seed,\\d+}`.
    patterns = [re.sub(r"\{(\w+),[^{}]*\}", r"{\1}", pattern) for pattern in patterns]
    files = (plan.each(pattern, name, asset=[], file=[]) for name in plan.datasets for pattern in patterns)
    return list(dict.fromkeys(file for own in files for file in own))
