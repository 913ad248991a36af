#!/bin/sh
# Run a job script in the background of this machine; print the id by which status.sh and cancel.sh know it.
set -eu
mkdir -p logs/cluster
id=$(mktemp -u "logs/cluster/$(basename "$1" .sh).XXXXXX")
# A session of its own, so that an interrupt of Snakemake does not end it and cancel.sh ends all that it started.
# shellcheck disable=SC2016 # the inner shell expands these
setsid sh -c '
    echo $$ >"$1.part"; mv "$1.part" "$1.pid"
    sh "$0" >"$1.log" 2>&1
    echo $? >"$1.part"; mv "$1.part" "$1.exit"
' "$1" "$id" </dev/null >/dev/null 2>&1 &
# Before the session is there, cancel.sh would find nothing to end.
until [ -e "$id.pid" ]; do sleep 0.02; done
echo "$id"
