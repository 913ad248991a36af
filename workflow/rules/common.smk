"""What all rules share: the checked configuration, what it plans, and digests of code."""

import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# Jobs run `python -m vmr` of this checkout with the Python that runs Snakemake, whether or not its environment is
# activated; with --sdm conda the environment's Python comes before it, and the checkout is on its path. With --sdm
# apptainer it is the image's, which the Dockerfile makes. Modules in the folder that a run is in (a `random.py` of the
# user's, another checkout) are none of theirs.
BASE = Path(str(workflow.basedir))
IN_IMAGE = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
OWN_PYTHON = "" if IN_IMAGE else f"{shlex.quote(str(Path(sys.executable).parent))}:"
sys.path.insert(0, str(BASE))
shell.prefix(
    f"set -euo pipefail; export PATH={OWN_PYTHON}$PATH"
    f" PYTHONPATH={shlex.quote(str(BASE))}${{{{PYTHONPATH:+:$PYTHONPATH}}}} VMR_VERBOSE=1 PYTHONSAFEPATH=1; "
)

from vmr.assets.registry import ASSETS_FOLDER, asset_or_path
from vmr.config import load_config, read_mapping
from vmr.config.extractors import EXTRACTORS
from vmr.errors import ConfigError, VmrError
from vmr.methods.catalogue import METHODS, ZERO_SHOT, method_digest
from vmr.pipeline.failures import options_of, outcomes, summary
from vmr.pipeline.options import of_all_shards, options, refusal_of_spaces, repeated
from vmr.pipeline.plan import DECODED, PROBED, RUN, Plan, listing_of
from vmr.pipeline.resources import gpus, growing, lasting
from vmr.pipeline.run_lock import note_owner, open_abandoned
from vmr.pipeline.runlog import Job
from vmr.pipeline.stages import STAGES
from vmr.pipeline.table_plan import TablePlan
from vmr.pipeline.targets import unknown_target
from vmr.pipeline.terminal import StopAfterChecks, keep_telling, one_line_a_job


def cores_here():
    """Cores of this machine for jobs that run here; None where a scheduler starts them, and no number need be given."""
    return (
        None if workflow.remote_exec or not workflow.local_exec else workflow.cores or 1
    )


# Snakemake lets keys stand twice, and goes down any depth; the processes of its jobs need not look again.
for file in {"config.yaml", *workflow.configfiles} if workflow.is_main_process else ():
    try:
        if Path(file).exists():
            read_mapping(Path(file))
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


configfile: "config.yaml"


def all_outputs():
    """What rules make, with wildcards."""
    return [str(file) for rule in workflow.rules for file in rule.output]


# Snakemake's own words, with all that a job reads and asks for, where commands are printed or `vmr plan` asks.
terminal = (
    one_line_a_job(
        dryrun=lambda: workflow.dryrun,
        unknown=lambda target: unknown_target(
            target,
            all_outputs(),
            [rule.name for rule in workflow.rules if not rule.has_wildcards()],
            plan,
        ),
    )
    if workflow.is_main_process
    and not workflow.output_settings.printshellcmds
    and not workflow.output_settings.verbose
    and not os.environ.get("VMR_SNAKEMAKE_WORDS")
    else None
)

try:
    plan = Plan(load_config(config), base=BASE, cores=cores_here)
    table = TablePlan(plan)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process and (word := open_abandoned(Path.cwd())):
    print(word, file=sys.stderr)

CONDA = "../../envs/vmr.yaml"

if IN_IMAGE:

    container: str(BASE / "vmr.sif")


def one_of(names):
    """Pattern of a wildcard that is one of these names, and of nothing when there is none."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return "|".join(map(re.escape, longest_first)) or "(?!)"


wildcard_constraints:
    dataset=one_of(plan.datasets),
    extractor=one_of({kind for kinds in plan.kinds.values() for kind in kinds}),
    method=one_of(METHODS),
    shard=r"\d+",
    seed=r"\d+",
    split=one_of(
        {name for dataset in plan.datasets.values() for name in dataset.test_splits}
    ),


def run_code(stage):
    """Params function: digest of a stage's code and of the job's method, so that another method reruns nothing."""
    return (
        lambda wildcards: f"{STAGES[stage].digest()} {method_digest(wildcards.method)}"
    )


def case_code(wildcards):
    """The same of the stage that asks one run of each method."""
    methods = plan.settings_of(wildcards).training.methods
    return " ".join([STAGES["study_cases"].digest(), *map(method_digest, methods)])


def told(function):
    """The function, with errors of ours as Snakemake shows them: in words, without a traceback."""

    def of_job(wildcards):
        try:
            return function(wildcards)
        except VmrError as error:
            raise WorkflowError(str(error)) from None

    return of_job


def is_hopeless(failed):
    """Whether every table that is still to be made needs a dataset whose checks have failed."""
    tables = [
        job for job in workflow.dag.needrun_jobs() if job.rule.name == "make_table"
    ]
    return bool(tables) and all(
        failed & set(table.datasets(job.wildcards)) for job in tables
    )


onstart:
    if not workflow.local_exec:
        if refusal := refusal_of_spaces(BASE, sys.executable):
            raise WorkflowError(refusal)
    note_owner(Path.cwd(), is_local=workflow.local_exec)
    logger.addHandler(StopAfterChecks(is_hopeless))
    if terminal:
        from vmr.pipeline.estimate import cards_here
        from vmr.pipeline.forecast import forecast

        jobs = [
            Job(
                job.rule.name,
                wildcards=dict(job.wildcards_dict),
                reason=str(workflow.dag.reason(job)),
            )
            for level in workflow.dag.toposorted()
            for job in level
            if workflow.dag.needrun(job)
        ]
        try:
            print(
                forecast(plan, jobs, cores=cores_here(), cards=cards_here()),
                file=sys.stderr,
                flush=True,
            )
        except (VmrError, OSError, ValueError, LookupError) as error:
            # A run does not fail for want of its forecast.
            print(f"What this will take is not known ({error}).", file=sys.stderr)
        keep_telling(terminal, Path.cwd())


onsuccess:
    for word in outcomes(workflow.dag_settings.targets, Path.cwd()):
        print(word, file=sys.stderr)


onerror:
    # Snakemake removes what a failed job had written, and makes a file that is missing only for one that is missing, too:
    # older results after it would count as right, and the same command do nothing.
    for job in workflow.dag.needrun_jobs() if workflow.dag else ():
        workflow.persistence.started(job)
    # Empty for errors before the first job, which Snakemake has printed.
    if failed := summary(
        "".join(Path(file).read_text() for file in log),
        folder=Path.cwd(),
        options=options_of(sys.argv[1:], workflow.dag_settings.targets),
    ):
        print(f"\n{failed}", file=sys.stderr)
