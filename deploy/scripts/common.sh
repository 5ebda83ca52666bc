# What the other scripts share: options that all have, and how each step is said and done.
#   --namespace NAME   (caching)      --dry-run   says what would be done, and does nothing

namespace=caching dry=
# What of a pod of the application `terrace check --post` asks in that pod.
targets='--url http://127.0.0.1:9180/healthz --metrics http://127.0.0.1:9180/metrics --exercise-degradation'

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$*"; exit 1; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

# run COMMAND...: the command, or what it would be.
run() {
  if [ -n "$dry" ]; then printf 'would run: %s\n' "$*"; else "$@"; fi
}
kube() { run kubectl --namespace "$namespace" "$@"; }
# terrace in a pod of the application, which has its environment.
terrace() { kube exec deployment/application --container proxy -- /terrace "$@"; }
