#!/bin/sh
# Takes the cache out of service, as far as needed: rollback.sh [--to STEP] [--why TEXT] [--purge-volume NAME]... [--namespace NAME] [--dry-run]
# flag          the fleet-wide switch (the default): takes effect in seconds, restarts nothing. Invalidations still work
# environment   flag, then CACHE_ENABLED=false, which restarts the application; also when Redis is down
# image         flag, then the revision before, with its environment
# flush         environment, then nothing that is stored is used any more (CACHE_NAMESPACE, if it is not that of base/cache.env)
# remove        flush, then everything that deploy.sh has made but volumes, credentials and the namespace, which has the volumes
# --why says why, for `terrace flag get` and the log. --purge-volume deletes one volume claim, by its name (data-redis-0, backup); nothing else ever does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
to=flag why=rollback volumes=''

while [ $# -gt 0 ]; do
  case $1 in
    --to) to=${2-}; shift ;;
    --why) why=${2-}; shift ;;
    --purge-volume) [ -n "${2-}" ] || usage; volumes="$volumes $2"; shift ;;
    --namespace) namespace=${2-}; shift ;;
    --dry-run) dry=1 ;;
    *) usage ;;
  esac
  shift || usage
done
case $to in
  flag) steps=flag ;;
  environment|image) steps="flag $to" ;; # not one after the other: the revision before would be that of `environment`
  flush) steps='flag environment flush' ;;
  remove) steps='flag environment flush remove' ;;
  *) usage ;;
esac
[ -z "$volumes" ] || steps="$steps volumes"

flag() { terrace flag set cache off --why="$why" && terrace flag set authz off --why="$why"; }
settled() { kube rollout status deployment/application --timeout=5m; }
# The label is for deploy.sh, which takes back what is set here.
mark() { kube label --overwrite deployment/application terrace/rollback=environment; }
environment() { mark && kube set env deployment/application --containers='*' CACHE_ENABLED=false AUTHZ_CACHE_ENABLED=false && settled; }
image() { kube rollout undo deployment/application && settled; }
flush() { terrace flush --namespace "${CACHE_NAMESPACE:-$(sed -n 's/^CACHE_NAMESPACE=//p' "$here/../kubernetes/base/cache.env")}" --yes; }
remove() {
  set -- --selector app.kubernetes.io/part-of=terrace
  kube delete deployment,statefulset,cronjob,service,configmap,networkpolicy,poddisruptionbudget,serviceaccount "$@" &&
    { kube delete servicemonitor,prometheusrule "$@" || say 'no monitors to remove'; }
}
# shellcheck disable=SC2086 # several names
volumes() { kube delete persistentvolumeclaim $volumes; }
# One line for the log, as it stands after the step: JSON, whatever the reason is made of.
reason=$(printf %s "$why" | tr '[:cntrl:]' ' ' | sed 's/[\\"]/\\&/g')
report() { printf '{"event":"cache_rollback","namespace":"%s","step":"%s","result":"%s","why":"%s"}\n' "$namespace" "$1" "$2" "$reason"; }

for step in $steps; do
  result=ok; "$step" || result=failed
  report "$step" "$result"
  # Without Redis there is no switch for the fleet, but what comes next is as good.
  if [ "$result" = failed ] && { [ "$step" != flag ] || [ "$to" = flag ]; }; then fail "$step failed; nothing was done after it"; fi
done
# Out of service it is, whatever else is wrong; so that is said, and no failure.
[ "$to" = remove ] || terrace check --pre || say 'not all is there that the cache needs'
