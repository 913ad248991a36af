"""From raw videos and sentences to the table: `snakemake --cores 8 results/charades_table.csv`."""

from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/annotations.smk"
include: "workflow/rules/videos.smk"
include: "workflow/rules/simulation.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/queries.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


# On a cluster these run where Snakemake does: compute nodes often have no way out.
localrules:
    fetch_annotations,
    prepare_asset,


rule all:
    default_target: True
    input:
        "results/demo_table.csv",
