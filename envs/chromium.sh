#!/usr/bin/env bash
# Chromium for tests/browser: installed where root and Debian's packages allow it; elsewhere these tests are skipped.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "chromium is not installed, and only root on Debian can have it installed: browser tests are skipped"
    exit 0
fi
echo "installing chromium"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >"$log" 2>&1; then
    tail -5 "$log"
    echo "chromium could not be installed: browser tests are skipped"
fi
