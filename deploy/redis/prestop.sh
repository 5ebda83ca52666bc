#!/bin/sh
# Before a node is stopped: if it is the primary, another one takes over first, which is sooner than anybody would notice its
# death. Writers wait meanwhile, so that the replicas have everything. It ends when this node is a replica, or after
# GRACE seconds (20); the node is stopped in either case, and Sentinel then does what it does for any death.
set -eu
MASTER=${MASTER:-terrace}
. "${CONF:-$(dirname "$0")}/common.sh"

role() { ask_node ROLE | head -n 1; }

hand_over() {
  ask_node CLIENT PAUSE 5000 WRITE >/dev/null
  # One Sentinel is enough; the others hear of it.
  for sentinel in $(printf '%s' "$SENTINELS" | tr ',' ' '); do
    answer=$(ask "${sentinel%:*}" "${sentinel##*:}" "$SENTINEL_PASSWORD" '' SENTINEL FAILOVER "$MASTER" 2>&1) || true
    [ "$answer" != OK ] || return 0
    say "$sentinel: $answer"
  done
  return 1
}

[ "$(role)" = master ] || exit 0
hand_over || { ask_node CLIENT UNPAUSE >/dev/null; fail 'no Sentinel makes another node the primary'; }
left=$((${GRACE:-20} * 5))
while [ "$(role)" = master ]; do
  left=$((left - 1))
  [ "$left" -gt 0 ] || { ask_node CLIENT UNPAUSE >/dev/null; fail 'still the primary'; }
  sleep 0.2
done
ask_node CLIENT UNPAUSE >/dev/null
say 'a replica now'
