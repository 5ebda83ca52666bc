#!/bin/sh
# Custom resources against the types that were made of their definitions, which refuse unknown keys: custom.sh NODE_MODULES FILE.json...
# Each file is one object. Kubernetes would silently drop what it does not know.
set -eu
modules=$1
shift
models=@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1
scratch=$(mktemp -d "$(dirname "$modules")/custom.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

count=0
for file; do
  count=$((count + 1))
  kind=$(jq -r .kind "$file")
  {
    echo "import type { I$kind } from \"$models/$kind\";"
    printf 'export const object: I%s = ' "$kind"
    cat "$file"
  } >"$scratch/$kind-$count.ts"
done
"$modules/.bin/tsc" --noEmit --strict --skipLibCheck --module nodenext "$scratch"/*.ts
