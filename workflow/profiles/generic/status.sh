#!/bin/sh
# What became of a job: running, success or failed; failed also when it is gone and left no exit status.
set -eu
running() { kill -0 "$(cat "$1.pid")" 2>/dev/null; }
if [ ! -e "$1.exit" ] && running "$1"; then
    echo running
elif [ "$(cat "$1.exit" 2>/dev/null)" = 0 ]; then
    echo success
else
    echo failed
fi
