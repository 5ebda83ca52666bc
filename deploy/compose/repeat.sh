#!/bin/sh
# In place of a timer: COMMAND every SECONDS, and ten minutes after a failure: repeat.sh SECONDS COMMAND...
set -eu
every=$1
shift
while :; do
  if "$@"; then sleep "$every"; else sleep 600; fi
done
