"""The command line: one subcommand for each stage, the same that the workflow's rules call.

Stages are imported inside their commands, so that `vmr --help` does not wait for torch.
"""

# In the order of the pipeline, which is that of `vmr --help` within each of its groups.
from vmr.cli import videos, simulate, features, doctor, verify, training, tables, report, locate, serve, settings  # noqa: F401, I001
from vmr.cli.groups import app as app
