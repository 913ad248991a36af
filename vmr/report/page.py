"""The stage that makes the report: one page that holds everything it shows."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from vmr.errors import EvaluationError
from vmr.evaluation.evaluate import read_run
from vmr.evaluation.simulated import is_simulated
from vmr.methods.catalogue import block_of, place_of, title_of
from vmr.pipeline.costs import stage_costs
from vmr.report.answers_view import answers_view, write_answers
from vmr.report.case_view import CURVE_SCALE, case_views
from vmr.report.charts import bias_charts, iou_charts, recall_chart, recall_charts
from vmr.report.coverage import read_coverage
from vmr.report.history import history_charts
from vmr.report.run_answers import Group, read_groups
from vmr.report.run_records import flat, read_history, run_rows, settings_rows
from vmr.report.svg import method_styles, swatch
from vmr.report.table_view import score_charts, table_view, text_of_table, windows_of
from vmr.storage.code_digest import code_digest
from vmr.storage.files import write_text
from vmr.storage.provenance import library_versions
from vmr.storage.records import read_record
from vmr.tables.latex import latex_table
from vmr.tables.make import gather_rows, table_csv
from vmr.tables.notes import no_result_note
from vmr.tables.rows import Row
from vmr.tables.text import main_table

log = logging.getLogger(__name__)

MAX_BYTES = 15_000_000
MOST_CHOSEN = 6  # curves at once that a reader can tell apart
# What the pictures may take; the rest is charts, curves and tables.
_PICTURE_BYTES = 9_000_000
_TEMPLATES = Path(__file__).parent / "templates"


def make_report(
    *,
    dataset: str,
    title: str | None,
    metrics: Sequence[Path],
    baselines: Sequence[Path],
    published: Path | None,
    table_text: Path,
    moments: Mapping[str, Path],
    manifests: Sequence[Path],
    coverage: Mapping[str, Path],
    cases: Sequence[Path],
    benchmarks: Sequence[Path],
    output: Path,
    answers: Path | None = None,
) -> None:
    """Write the report as one HTML file below `MAX_BYTES` that loads nothing from elsewhere.

    Args:
        metrics: ``metrics_{split}.json`` of every run, with predictions, history and record of the run beside it.
        table_text: the readable table, whose notes are taken over.
        moments: table of moments by dataset; more than one where further datasets follow in the table.

    Raises:
        EvaluationError: a file cannot be used, files contradict each other, or the page would be too large.
    """
    title = title or dataset
    rows = gather_rows(metrics=metrics, baselines=baselines, published=published, datasets=list(moments))
    groups = read_groups(metrics, moments=moments, manifests=manifests)
    windows = windows_of(rows)
    needed, again = ("split", "features", "cases", "strips"), "Study the cases again."
    studies = [
        read_record(path, what="record of case studies", needed=needed, again=again, error=EvaluationError)
        for path in cases
    ]
    drop_pictures(studies, limit=_PICTURE_BYTES)
    study_names = [_name(study["split"], study["features"], groups) for study in studies]
    views = [
        view
        for i, (study, name) in enumerate(zip(studies, study_names, strict=True))
        for view in case_views(study, group=name, number_of_group=i)
    ]
    names = [_name(group.split, group.features, groups) for group in groups]
    chosen = chosen_methods(groups)
    content = {
        "title": title,
        "simulated": any(is_simulated(run.metrics) for group in groups for run in _runs(group)),
        "no_result": no_result_note(rows).replace("**", "").replace("`", ""),
        "one_seed": all(
            len(runs) == 1 for group in groups for runs in group.runs.values() if runs[0].metrics.get("run")
        ),
        "most_chosen": MOST_CHOSEN,
        "blocks": {
            block: [
                {"key": name, "title": title_of(name), "swatch": swatch(f"m-{name}"), "chosen": name in chosen}
                for name in names
            ]
            for block, names in _by_block(groups).items()
        },
        "summaries": [summary for group in groups if (summary := _summary(group, rows))],
        "table": table_view(rows),
        "copies": {
            "LaTeX": latex_table(rows, dataset=dataset, title=title),
            "Markdown": main_table([row for row in rows if row.headline]),
            "CSV": table_csv(rows),
        },
        "answers": list(zip(names, map(answers_view, groups), strict=True)),
        "answers_file": answers.name if answers is not None else "",
        "score_charts": score_charts(rows),
        "table_text": text_of_table(table_text),
        "groups": [
            {"name": name} | _charts(group, windows.get(group.split)) for name, group in zip(names, groups, strict=True)
        ],
        "coverage": read_coverage(coverage),
        "costs": stage_costs(list(benchmarks)),
        "studies": studies,
        "study_names": study_names,
        "deciders": [title_of(study["decides"]) for study in studies],
        "cases": views,
        "curve_scale": f"{CURVE_SCALE:g}",
        "provenance": [_provenance(group) for group in groups],
        "made_by": {
            "code": code_digest(["vmr.report.page"]),
            **library_versions(["vmr", "jinja2", "numpy", "pandas"]),
        },
    }
    if answers is not None:
        write_answers(groups, answers)
    text = _render(content)
    size = len(text.encode("utf-8"))
    if size > MAX_BYTES:
        raise EvaluationError(
            f"{output}: the report would have {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}. Choose fewer case "
            "studies or pictures (report.cases, report.random_cases, report.thumbnails)."
        )
    write_text(output, text)
    log.info("%s: %.2f MB, %d case studies", output, size / 1e6, len(views))


def chosen_methods(groups: Sequence[Group]) -> list[str]:
    """The methods whose curves are seen at first, `MOST_CHOSEN` at most; readers choose others.

    The last method of the table, the best of each block by R@1 at 0.5, then the best of the others.
    """
    found = {}
    for names in _by_block(groups).values():
        recall = {
            name: np.mean([group.hits(name, 0.5).mean() for group in groups if name in group.runs]) for name in names
        }
        for place, name in enumerate(sorted(names, key=lambda name: -recall[name])):
            found[name] = (place, -recall[name])
    last = max(found, key=place_of, default="")
    return sorted(found, key=lambda name: (name != last, *found[name]))[:MOST_CHOSEN]


def _by_block(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The methods of all groups by the block that they stand in, in the order of the table."""
    found: dict[str, list[str]] = {}
    for name in sorted({name for group in groups for name in group.runs}, key=place_of):
        found.setdefault(block_of(name), []).append(name)
    return found


def drop_pictures(studies: Sequence[dict[str, Any]], *, limit: int) -> None:
    """Take film strips out of the last case studies until the pictures of all have at most `limit` bytes."""
    total = 0
    for study in studies:
        kept = {}
        for video_id, strip in study["strips"].items():
            size = sum(map(len, strip["pictures"]))
            if total + size <= limit:
                kept[video_id] = strip
                total += size
        if len(kept) < len(study["strips"]):
            study["no_strips"] = "No pictures: the page would be too large."
        study["strips"] = kept


def _render(content: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files = {name: (_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "filter.js", "tables.js")}
    style = files["style.css"] + method_styles()
    return environment.get_template("report.html").render(
        content, style=style, script=files["filter.js"] + files["tables.js"]
    )


def _runs(group: Group) -> list[Any]:
    return [run for runs in group.runs.values() for run in runs]


def _trained(group: Group) -> list[Any]:
    """The runs with a record of their training; zero-shot answers have none."""
    return [run for run in _runs(group) if run.metrics.get("run")]


def _name(split: str, features: str, groups: Sequence[Group]) -> str:
    return f"{split}, {features}" if len(groups) > 1 else split


def _summary(group: Group, rows: Sequence[Row]) -> dict[str, Any] | None:
    """What stands at the top of the page about a group; nothing where no network can have learned."""
    titles = {
        row.method for row in rows if row.is_result and (row.split, row.features) == (group.split, group.features)
    }
    learned = [method for method in group.runs if title_of(method) in titles]
    if not learned:
        return None
    # By the figure that is named first, so that the sentence and the bold numbers of the table agree.
    best = max(learned, key=lambda method: (group.hits(method, 0.5).mean(), group.ious(method).mean()))
    covered = float(group.answered_mask.mean())
    return {
        "split": group.split,
        "features": group.features,
        "queries": len(group.queries),
        "videos": int(group.queries["video_id"].nunique()),
        "coverage": 100.0 * covered,
        "best": title_of(best),
        "seeds": len(group.runs[best]),
        "recall": 100.0 * float(group.hits(best, 0.5).mean()),
        "miou": 100.0 * float(group.ious(best).mean()),
    }


def _charts(group: Group, window: Any) -> dict[str, Any]:
    words = np.array([len(sentence.split()) for sentence in group.queries["sentence"]], dtype=np.float64)
    histories: dict[str, list[tuple[int, pd.DataFrame, int | None]]] = {}
    for run in _trained(group):
        history = (run.seed, read_history(run.folder), read_run(run.folder / "run.json").get("chosen_epoch"))
        histories.setdefault(run.method, []).append(history)
    return {
        "history": history_charts(histories),
        "recall": recall_chart(group, window),
        "iou": iou_charts(group),
        "by": recall_charts(group, words=words),
        "bias": bias_charts(group),
    }


def _provenance(group: Group) -> dict[str, Any]:
    runs = [(run.method, run.seed, read_run(run.folder / "run.json")) for run in _trained(group)]
    first = {method: record for method, _, record in reversed(runs)}
    record = next(iter(first.values()))
    return {
        "name": f"{group.split}, {group.features}",
        "settings": settings_rows(first),
        "runs": run_rows(runs),
        **{part: flat(record.get(part) or {}) for part in ("features", "queries", "versions", "counts")},
    }
