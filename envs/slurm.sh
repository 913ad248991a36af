#!/usr/bin/env bash
# Slurm's programs for `make test-slurm`: installed where root and Debian's packages allow it, never started here.
set -euo pipefail
for program in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing=yes
done
[ "${missing:-}" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-slurm: Slurm is not installed, and only root on Debian or Ubuntu can have it installed: tests are skipped"
    exit 0
fi
echo "test-slurm: installing slurm-wlm and munge"
# RUNLEVEL=1: packages installed so do not start their services.
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; } >"$log" 2>&1; then
    tail -5 "$log"
    echo "test-slurm: Slurm could not be installed: tests are skipped"
fi
