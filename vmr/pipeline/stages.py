"""The stages of the pipeline and the modules that each runs: the one table behind every digest of code."""

import functools
from dataclasses import dataclass

from vmr.config.extractors import EXTRACTORS
from vmr.storage.code_digest import code_digest

# Texts of errors, records, this table, and which of several cards is taken.
_WITHOUT = ("vmr.errors", "vmr.storage.code_digest", "vmr.pipeline.stages", "vmr.machine.devices")
# What only refuses, since its values come as options; and the catalogue: rules that run a method add the digest of it.
CONFIG = ("vmr.config", "vmr.settings", "vmr.methods.catalogue", "vmr.methods.entry")


@dataclass(frozen=True)
class Stage:
    """What a stage runs."""

    # those that it starts at; what they import is found by itself, what runs as a process is named here
    modules: tuple[str, ...]
    without: tuple[str, ...] = CONFIG  # imported modules that cannot change the result
    files: tuple[str, ...] = ()  # folders of the package with files that are read and are no code

    @functools.cache  # noqa: B019 - the stages of the table live as long as the process
    def digest(self) -> str:
        """Digest of the stage's code, see `vmr.storage.code_digest.code_digest`."""
        return code_digest(self.modules, without=(*_WITHOUT, *self.without), files=self.files)


def _extract(extractor: str) -> Stage:
    """An edit of what only one extractor runs leaves the features of the others alone."""
    own = EXTRACTORS[extractor].modules
    others = {module for entry in EXTRACTORS.values() for module in entry.modules} - set(own)
    return Stage(("vmr.features.extract", *own), without=(*CONFIG, *sorted(others)))


_DECORD = "vmr.video.decord_server"
STAGES = {
    "render_demo": Stage(("vmr.synthetic.demo",)),
    "prepare_asset": Stage(("vmr.assets.prepare",)),
    "parse_annotations": Stage(("vmr.annotations.parse",)),
    "probe_videos": Stage(("vmr.video.probe",)),
    "decode_frames": Stage(("vmr.video.decode", _DECORD)),
    **{f"extract_{extractor}": _extract(extractor) for extractor in EXTRACTORS},
    "simulate": Stage(("vmr.synthetic.simulate",)),
    "import_features": Stage(("vmr.features.importers",)),
    "merge_features": Stage(("vmr.features.merge",)),
    "embed_queries": Stage(("vmr.queries.embed",)),
    "check_dataset": Stage(("vmr.doctor.check_dataset",)),
    "train": Stage(("vmr.training.run",)),
    "evaluate": Stage(("vmr.training.predict", "vmr.evaluation.evaluate")),
    "zero_shot": Stage(("vmr.zero_shot.predict", "vmr.evaluation.evaluate"), files=("zero_shot/classes",)),
    "compute_baselines": Stage(("vmr.evaluation.baselines",)),
    "make_table": Stage(("vmr.tables.make",), without=()),
    "study_cases": Stage(("vmr.report.cases",)),
    "gather_costs": Stage(("vmr.pipeline.costs",)),
    "make_report": Stage(("vmr.report.page",), without=(), files=("report/templates",)),
}
