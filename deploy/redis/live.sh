#!/bin/sh
# Liveness of a node or a Sentinel (live.sh redis|sentinel): it answers. What it answers does not matter: one that loads its
# data, or has lost its primary, would only be worse off after a restart.
set -eu
. "${CONF:-$(dirname "$0")}/common.sh"

case ${1-} in
  redis) answer=$(ask_node PING) ;;
  sentinel) answer=$(ask "$(local_address)" "${PORT:-26379}" "$SENTINEL_PASSWORD" '' PING) ;;
  *) fail 'say redis or sentinel' ;;
esac
[ -n "$answer" ]
