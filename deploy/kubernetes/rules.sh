#!/bin/sh
# Makes the rules of deploy/prometheus a PrometheusRule, for kustomize cannot: rules.sh >overlays/monitoring/prometheus-rules.yaml
set -eu
cd "$(dirname "$0")/../prometheus"

cat <<'END'
# Made by deploy/kubernetes/rules.sh from deploy/prometheus/recording.yml and alerts.yml: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: terrace
spec:
  groups:
END
for file in recording.yml alerts.yml; do
  grep -qx 'groups:' "$file" || { echo "rules.sh: $file has no line \`groups:\`" >&2; exit 1; }
  sed -e '1,/^groups:$/d' -e 's/^./  &/' "$file"
done
