#!/bin/sh
# Readiness of a node or a Sentinel (ready.sh redis|sentinel). A node: it is a primary, or a replica with a link to one; and
# it has loaded its data. A Sentinel: it knows a primary.
set -eu
. "${CONF:-$(dirname "$0")}/common.sh"

node_is_ready() {
  [ "$(ask_node PING)" = PONG ] || fail 'no PONG'
  ask_node INFO replication | tr -d '\r' | grep -qxE 'role:master|master_link_status:up' || fail 'a replica without a link to its primary'
}

sentinel_is_ready() {
  address=$(ask "$(local_address)" "${PORT:-26379}" "$SENTINEL_PASSWORD" '' SENTINEL GET-MASTER-ADDR-BY-NAME "${MASTER:-terrace}" | tr '\n' ' ')
  case $address in
    *' '[0-9]*) ;;
    *) fail "knows no primary: $address" ;;
  esac
}

case ${1-} in
  redis) node_is_ready ;;
  sentinel) sentinel_is_ready ;;
  *) fail 'say redis or sentinel' ;;
esac
