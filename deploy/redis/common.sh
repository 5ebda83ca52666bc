# What the other scripts share. Secrets are taken from the environment and never given as arguments, which everybody on
# the machine could read.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 1; }

need() {
  for name; do
    eval "[ -n \"\${$name-}\" ]" || fail "$name is not set"
  done
}

# `redis-0` and `redis-0.redis.caching.svc` are number 0.
ordinal() {
  name=${NODE%%.*}
  case ${ORDINAL-${name##*-}} in
    ''|*[!0-9]*) fail "ORDINAL is not set, and NODE ($NODE) does not end in a number" ;;
    *) echo "${ORDINAL-${name##*-}}" ;;
  esac
}

# ask HOST PORT PASSWORD USER COMMAND...: what the server answers, or failure after two seconds. Without USER: the default one.
ask() {
  host=$1 port=$2 password=$3 user=$4
  shift 4
  REDISCLI_AUTH=$password timeout "${PATIENCE:-2}" redis-cli --no-auth-warning -h "$host" -p "$port" ${user:+--user "$user"} "$@"
}

local_address() { echo "${BIND:-127.0.0.1}" | cut -d ' ' -f 1; }

# The node beside this script.
ask_node() { ask "$(local_address)" "${PORT:-6379}" "$NODE_PASSWORD" node "$@"; }

# One line for each Sentinel: the host and port of the primary, and all that it says of it; nothing of those that do not answer.
opinions() {
  for sentinel in $(printf '%s' "$SENTINELS" | tr ',' ' '); do
    printf 'SENTINEL GET-MASTER-ADDR-BY-NAME %s\nSENTINEL MASTER %s\n' "$MASTER" "$MASTER" |
      ask "${sentinel%:*}" "${sentinel##*:}" "$SENTINEL_PASSWORD" '' 2>/dev/null | tr '\n' '\t' || true
    echo
  done
}

# `HOST PORT` of the primary, or nothing. Where Sentinels disagree, the later failover is right: that with the higher epoch.
# The address is the first answer, for in the middle of a failover the second still describes the old primary; where there
# is none before the second, which begins with `name`, the Sentinel does not count.
primary() {
  opinions | awk -F '\t' '
    { split("", is); for (i = 3; i < NF; i += 2) is[$i] = $(i + 1) }
    $3 == "name" && is["config-epoch"] + 0 >= epoch { epoch = is["config-epoch"] + 0; found = $1 " " $2 }
    END { if (found) print found }'
}
