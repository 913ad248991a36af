#!/bin/sh
# Remove jobs, given as namespace/name, and their pods.
for id in "$@"; do
    kubectl delete job "${id#*/}" -n "${id%/*}" --ignore-not-found --wait=false
done
