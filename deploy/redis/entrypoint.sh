#!/bin/sh
# Starts a node or a Sentinel: entrypoint.sh redis|sentinel. The environment says which:
#   NODE, PORT        its name for others (`redis-0.redis.caching.svc.cluster.local`) and its port (6379, 26379)
#   FIRST             HOST:PORT of the node that is primary in the very beginning: the one whose number (ORDINAL, or the
#                     number at the end of NODE's first label) is 0
#   SENTINELS         HOST:PORT,... of all Sentinels;  MASTER: the primary's name (terrace)
#   CONF, DATA        where these files are (beside this script), and the writable directory (/data)
#   BIND              the addresses to listen on (all);  SUPERVISED: systemd, under systemd
#   CACHE_NAMESPACE   the application's (default);  MAXMEMORY: replaces that of redis.conf
#   REDIS_PASSWORD, OPERATOR_PASSWORD, ADMIN_PASSWORD, NODE_PASSWORD, EXPORTER_PASSWORD, SENTINEL_PASSWORD   letters, digits, - and _
#   OLD_PASSWORDS     USER:PASSWORD,... of users.acl, which are accepted too: those from before a change, until all have the new ones
set -eu
umask 077
CONF=${CONF:-$(dirname "$0")} DATA=${DATA:-/data} MASTER=${MASTER:-terrace}
. "$CONF/common.sh"

check_words() {
  for name; do
    value=
    eval "value=\${$name}"
    case $value in
      *[!A-Za-z0-9_.:-]*) fail "$name: only letters, digits and - _ . : are accepted" ;;
    esac
  done
}

# Asked for a while: after everything was down, those who remember may come later than this one.
find_primary() {
  tries=${TRIES:-5}
  while found=$(primary) && [ -z "$found" ] && [ "$tries" -gt 1 ]; do
    tries=$((tries - 1))
    sleep 1
  done
  # Nobody answers: only number 0, which is FIRST, may assume that it is the primary.
  echo "${found:-${FIRST%:*} ${FIRST##*:}}"
}

digest() { printf '%s' "$1" | sha256sum | cut -d ' ' -f 1; }

check_old() {
  for pair in $(printf '%s' "${OLD_PASSWORDS-}" | tr , ' '); do
    case $pair in
      terrace:?*|operator:?*|admin:?*|node:?*|exporter:?*) ;;
      *) fail "OLD_PASSWORDS: USER:PASSWORD,... is accepted, where USER is terrace, operator, admin, node or exporter; not that of '${pair%%:*}'" ;;
    esac
    case ${pair#*:} in
      *[!A-Za-z0-9_-]*) fail "OLD_PASSWORDS: that of ${pair%%:*} may have letters, digits, - and _ only" ;;
    esac
  done
}

# accepted USER PASSWORD: what its line in users.acl has in place of a password, which begins with `#` there.
accepted() {
  printf '%s' "$(digest "$2")"
  for pair in $(printf '%s' "${OLD_PASSWORDS-}" | tr , ' '); do
    [ "${pair%%:*}" != "$1" ] || printf ' #%s' "$(digest "${pair#*:}")"
  done
}

# `default` is off, so nobody can be it; but it has all rights, because Redis loads transactions of its append-only file as
# `default`, and leaves out what that may not do.
users() {
  sed -e "s/@NAMESPACE@/${CACHE_NAMESPACE:-default}/g" -e "s/@TERRACE@/$(accepted terrace "$REDIS_PASSWORD")/" \
    -e "s/@OPERATOR@/$(accepted operator "$OPERATOR_PASSWORD")/" -e "s/@ADMIN@/$(accepted admin "$ADMIN_PASSWORD")/" \
    -e "s/@NODE@/$(accepted node "$NODE_PASSWORD")/" -e "s/@EXPORTER@/$(accepted exporter "$EXPORTER_PASSWORD")/" "$CONF/users.acl"
}

# What both kinds have.
place() {
  printf 'port %s\ndir %s\n' "$PORT" "$DATA"
  [ -z "${BIND-}" ] || echo "bind $BIND"
  [ -z "${SUPERVISED-}" ] || echo "supervised $SUPERVISED"
}

node_conf() {
  cat "$CONF/redis.conf"
  place
  echo "aclfile $DATA/users.acl"
  printf 'replica-announce-ip %s\nreplica-announce-port %s\nmasteruser node\nmasterauth %s\n' "$NODE" "$PORT" "$NODE_PASSWORD"
  [ -z "${MAXMEMORY-}" ] || echo "maxmemory $MAXMEMORY"
  [ "$1" = "$NODE $PORT" ] || echo "replicaof $1"
}

redis() {
  need NODE FIRST SENTINELS REDIS_PASSWORD OPERATOR_PASSWORD ADMIN_PASSWORD NODE_PASSWORD EXPORTER_PASSWORD SENTINEL_PASSWORD
  check_words NODE PORT FIRST REDIS_PASSWORD OPERATOR_PASSWORD ADMIN_PASSWORD NODE_PASSWORD EXPORTER_PASSWORD \
    ${CACHE_NAMESPACE:+CACHE_NAMESPACE} ${MAXMEMORY:+MAXMEMORY}
  check_old
  [ "$FIRST" != "$NODE:$PORT" ] || [ "$(ordinal)" = 0 ] || fail "FIRST ($FIRST) is this node, whose number is $(ordinal) and not 0"
  primary=$(find_primary)
  say "the primary is $primary"
  users >"$DATA/users.acl"
  node_conf "$primary" >"$DATA/redis.conf"
  exec redis-server "$DATA/redis.conf"
}

# What Sentinel has found out: who it is, whom it watches, who else is there, and in which epoch.
remembered() {
  [ ! -f "$DATA/sentinel.conf" ] || grep -E '^sentinel (myid|monitor|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel) ' "$DATA/sentinel.conf" || true
}

sentinel_conf() {
  memory=$(remembered)
  case $memory in
    *'sentinel monitor '*) printf '%s\n' "$memory" ;;
    *) echo "sentinel monitor $MASTER $(TRIES=1 find_primary) 2" ;;
  esac
  sed "s/@MASTER@/$MASTER/" "$CONF/sentinel.conf"
  place
  echo "requirepass $SENTINEL_PASSWORD"
  printf 'sentinel announce-ip %s\nsentinel announce-port %s\n' "$NODE" "$PORT"
  printf 'sentinel auth-user %s node\nsentinel auth-pass %s %s\n' "$MASTER" "$MASTER" "$NODE_PASSWORD"
}

sentinel() {
  need NODE FIRST SENTINELS NODE_PASSWORD SENTINEL_PASSWORD
  check_words NODE PORT FIRST MASTER NODE_PASSWORD SENTINEL_PASSWORD
  sentinel_conf >"$DATA/sentinel.conf.new"
  mv "$DATA/sentinel.conf.new" "$DATA/sentinel.conf"
  await_name "$(awk '/^sentinel monitor / { print $4 }' "$DATA/sentinel.conf")"
  exec redis-server "$DATA/sentinel.conf" --sentinel
}

# Sentinel ends at once when it cannot find the address of whom it watches, which in the beginning has none.
await_name() {
  tries=60
  until getent ahosts "$1" >/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "$1 has no address"
    sleep 1
  done
}

case ${1-} in
  redis) PORT=${PORT:-6379}; redis ;;
  sentinel) PORT=${PORT:-26379}; sentinel ;;
  *) fail 'say redis or sentinel' ;;
esac
