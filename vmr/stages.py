"""The stages of the pipeline and the code that each runs: the one table behind every digest of code."""

from __future__ import annotations

from dataclasses import dataclass

from vmr.provenance import code_digest, files_digest

# Texts of errors, records, and which of several cards is taken.
_WITHOUT = ("vmr.errors", "vmr.provenance", "vmr.devices")
_OTHER_EXTRACTORS = {
    "extract_i3d": ("vmr.features.c3d", "vmr.features.backbones"),
    "extract_c3d": ("vmr.features.i3d", "vmr.features.i3d_layers", "vmr.features.backbones"),
    "extract_backbone": ("vmr.features.c3d", "vmr.features.i3d", "vmr.features.i3d_layers"),
}


@dataclass(frozen=True)
class Stage:
    """The modules that a stage enters, imported ones that cannot change what it gives, and files that it reads."""

    entries: tuple[str, ...]
    without: tuple[str, ...] = _WITHOUT
    files: tuple[str, ...] = ()  # folders of the package with files that are no code

    def digest(self) -> str:
        """Digest of the stage's code, see `vmr.provenance.code_digest`, and of its files."""
        code = code_digest(self.entries, without=self.without)
        return files_digest(self.files, code) if self.files else code


STAGES = {
    "render_demo": Stage(("vmr.annotations.demo",)),
    "prepare_asset": Stage(("vmr.assets.prepare",)),
    "parse_annotations": Stage(("vmr.annotations.parse",)),
    # With the processes that these start, which nothing imports.
    "probe_videos": Stage(("vmr.video.probe", "vmr.video.ffprobe_server")),
    "decode_frames": Stage(("vmr.video.decode", "vmr.video.ffprobe_server", "vmr.video.decord_server")),
    **{stage: Stage(("vmr.features.extract",), (*_WITHOUT, *others)) for stage, others in _OTHER_EXTRACTORS.items()},
    "simulate": Stage(("vmr.simulation.simulate",)),
    "import_features": Stage(("vmr.features.importers",)),
    "merge_features": Stage(("vmr.features.merge",)),
    "embed_queries": Stage(("vmr.queries.embed",)),
    "train": Stage(("vmr.training.run",)),
    "evaluate": Stage(("vmr.training.predict", "vmr.evaluation.evaluate")),
    "compute_baselines": Stage(("vmr.evaluation.baselines",)),
    "make_table": Stage(("vmr.evaluation.tables",)),
    "study_cases": Stage(("vmr.report.cases",)),
    "gather_costs": Stage(("vmr.report.costs",)),
    "make_report": Stage(("vmr.report.page",), files=("report/templates",)),
}


def extract_stage(extractor: str) -> str:
    """Name of the stage that runs an extractor; pytorchvideo's backbones share one.

    >>> extract_stage("i3d"), extract_stage("slow_r50")
    ('extract_i3d', 'extract_backbone')
    """
    return f"extract_{extractor}" if extractor in ("i3d", "c3d") else "extract_backbone"
