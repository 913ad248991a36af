# What the workflow runs in, from the same locks as `make setup`; docs/operations.md says how to use it.
FROM python:3.11-slim-bookworm
WORKDIR /opt/vmr
COPY pyproject.toml README.md LICENSE Snakefile config.yaml ./
COPY envs envs
COPY vmr vmr
COPY workflow workflow
COPY profiles profiles
RUN envs/setup.sh && rm -rf /var/lib/apt/lists/* /root/.cache
# A user of any number may run it: Snakemake asks for a name, and caches need a folder.
ENV PATH=/opt/vmr/.venv/bin:$PATH HOME=/tmp USER=vmr
CMD ["snakemake", "results/demo_table.csv", "results/demo_report.html"]
