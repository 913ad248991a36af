"""The stages of the pipeline and the code that each runs: the one table behind every digest of code."""

from __future__ import annotations

from dataclasses import dataclass

from vmr.pipeline.digest import code_digest, files_digest

# Texts of errors, records, this table, and which of several cards is taken.
_WITHOUT = ("vmr.errors", "vmr.pipeline.digest", "vmr.pipeline.stages", "vmr.machine.devices")
_OTHER_EXTRACTORS = {
    "extract_i3d": ("vmr.features.c3d", "vmr.features.backbones"),
    "extract_c3d": ("vmr.features.i3d", "vmr.features.i3d_layers", "vmr.features.backbones"),
    "extract_backbone": ("vmr.features.c3d", "vmr.features.i3d", "vmr.features.i3d_layers"),
}


@dataclass(frozen=True)
class Stage:
    """The command that a stage runs, imported modules that cannot change what it gives, and what else it reads."""

    command: str  # MODULE:FUNCTION below `vmr.cli`
    without: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()  # modules that run as processes of their own, which nothing imports
    files: tuple[str, ...] = ()  # folders of the package with files that are no code

    def digest(self) -> str:
        """Digest of the stage's code, see `vmr.pipeline.digest.code_digest`, and of its files."""
        code = code_digest((f"vmr.cli.{self.command}", *self.servers), without=(*_WITHOUT, *self.without))
        return files_digest(self.files, code) if self.files else code


# What only refuses, since its values come as options; and the catalogue: rules that run a method add the digest of it.
CONFIG = ("vmr.config", "vmr.settings", "vmr.methods.catalogue", "vmr.methods.entry")
_FFPROBE, _DECORD = "vmr.video.ffprobe_server", "vmr.video.decord_server"
STAGES = {
    "render_demo": Stage("videos:render_demo", without=CONFIG),
    "prepare_asset": Stage("settings:prepare_asset"),
    "parse_annotations": Stage("videos:parse_annotations"),
    "probe_videos": Stage("videos:probe_videos", without=CONFIG, servers=(_FFPROBE,)),
    "decode_frames": Stage("videos:decode_frames", without=CONFIG, servers=(_FFPROBE, _DECORD)),
    **{stage: Stage("features:extract", without=(*CONFIG, *others)) for stage, others in _OTHER_EXTRACTORS.items()},
    "simulate": Stage("simulate:simulate", without=CONFIG),
    "import_features": Stage("features:import_features", without=CONFIG),
    "merge_features": Stage("features:merge_features", without=CONFIG),
    "embed_queries": Stage("training:embed_queries", without=CONFIG),
    "train": Stage("training:train", without=CONFIG),
    "evaluate": Stage("training:evaluate_run", without=CONFIG),
    "compute_baselines": Stage("tables:baselines"),
    "make_table": Stage("tables:make_table"),
    "study_cases": Stage("report:cases", without=CONFIG),
    "gather_costs": Stage("report:costs"),
    "make_report": Stage("report:page", files=("report/templates",)),
}


def extract_stage(extractor: str) -> str:
    """Name of the stage that runs an extractor; pytorchvideo's backbones share one.

    >>> extract_stage("i3d"), extract_stage("slow_r50")
    ('extract_i3d', 'extract_backbone')
    """
    return f"extract_{extractor}" if extractor in ("i3d", "c3d") else "extract_backbone"
