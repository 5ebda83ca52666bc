#!/bin/sh
# Deploys to Kubernetes, as often as you like: deploy.sh [--overlay NAME|DIRECTORY] [--dry-run]
# The overlay is one of deploy/kubernetes/overlays (prod), and says which namespace. Passwords and keys are made where there are none, and never replaced.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
# shellcheck source=prepare.sh
. "$here/prepare.sh"
overlay=prod

while [ $# -gt 0 ]; do
  case $1 in
    --overlay) overlay=${2-}; shift ;;
    --dry-run) dry=1 ;;
    *) usage ;;
  esac
  shift || usage
done
case $overlay in
  */*) ;;
  *) overlay=$here/../kubernetes/overlays/$overlay ;;
esac
[ -f "$overlay/kustomization.yaml" ] || fail "$overlay has no kustomization.yaml"
namespace=$(sed -n 's/^namespace: //p' "$overlay/kustomization.yaml")
[ -n "$namespace" ] || fail "$overlay/kustomization.yaml names no namespace"

say "1/4 namespace and credentials"
if [ -n "$dry" ]; then
  echo 'would make the namespace and the Secret cache-credentials, unless they are there, and take back what rollback.sh has set'
else
  ensure_namespace
  ensure_credentials
  take_back
fi
say "2/4 everything else: $overlay"
# What somebody changed by hand, or rollback.sh, is as the files say again.
run kubectl apply --server-side --force-conflicts --kustomize "$overlay"
say '3/4 until all is there, within 15 minutes'
begun=$(date +%s)
for what in statefulset/redis deployment/application deployment/watcher; do
  left=$((begun + 900 - $(date +%s)))
  # To kubectl, 0 is for ever. What is there by now needs no more than a second to say so.
  [ "$left" -gt 0 ] || left=1
  kube rollout status "$what" --timeout="${left}s"
done
say "4/4 checks"
# shellcheck disable=SC2086 # several words
terrace check --post --wait 60s $targets
say 'deployed'
