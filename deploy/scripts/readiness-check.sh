#!/bin/sh
# Whether the cache is ready for production: readiness-check.sh [--pre|--post] [--strict] [--namespace NAME] [--dry-run] [-- OPTION...]
# --pre: before deploying, what it will need; --post (if not said): the ten checks and Terrace's own. Exit status: that of `terrace check`,
# which gets what follows `--`: --authz-url, --probe-url, --prometheus and so on, as a pod of the application reaches them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
when=--post strict=

while [ $# -gt 0 ]; do
  case $1 in
    --pre|--post) when=$1 ;;
    --strict) strict=1 ;;
    --namespace) namespace=${2-}; shift ;;
    --dry-run) dry=1 ;;
    --) shift; break ;;
    *) usage ;;
  esac
  shift || usage
done

say 'pods that are not ready:'
kube get pods --field-selector status.phase!=Running,status.phase!=Succeeded
[ "$when" = --post ] || targets=''
# shellcheck disable=SC2086 # several words, or none
terrace check "$when" ${strict:+--strict} $targets "$@"
