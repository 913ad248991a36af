#!/bin/sh
# End jobs and all that they started.
for id in "$@"; do
    kill -- "-$(cat "$id.pid")" 2>/dev/null
done
true
