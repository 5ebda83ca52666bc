# What deploy.sh does before it applies anything, in $namespace.

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Through standard input, for arguments can be read by everybody.
credentials() {
  key=$(command terrace keygen) || fail 'terrace keygen failed'
  printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: cache-credentials}\nstringData:\n'
  for name in REDIS_PASSWORD OPERATOR_PASSWORD ADMIN_PASSWORD NODE_PASSWORD EXPORTER_PASSWORD SENTINEL_PASSWORD; do
    printf '  %s: "%s"\n' "$name" "$(password)"
  done
  printf '  AUTHZ_CACHE_KEYS: "%s"\n' "$key"
}

# found KIND...: whether there is such a one.
found() {
  them=$(kubectl --namespace "$namespace" get "$@" --ignore-not-found -o name) || fail "cannot ask for $*"
  [ -n "$them" ]
}
# Its labels come with everything else: to apply it without them would take them away.
ensure_namespace() { found namespace "$namespace" || kubectl create namespace "$namespace"; }
ensure_credentials() {
  ! found secret cache-credentials || return 0
  # Not the function of common.sh.
  (unset -f terrace; command -v terrace >/dev/null) || fail 'the command terrace is needed to make a key'
  made=$(credentials)
  printf '%s\n' "$made" | kubectl --namespace "$namespace" create -f -
}

# What rollback.sh has set, which no manifest names and so none takes back.
take_back() {
  found deployment --selector terrace/rollback || return 0
  kube set env deployment/application --containers='*' CACHE_ENABLED- AUTHZ_CACHE_ENABLED-
  kube label deployment/application terrace/rollback-
}
