#!/bin/sh
# Tell who runs where; the process number shows that we are alone in here.
echo "$GREETING"
echo "user $(id -un), process $$, $(uname -s) on $(uname -m), in $(pwd)"
