#!/bin/sh
# What the application's environment means to Terrace, with secrets left out: env-check.sh [--file FILE] [--namespace NAME] [--dry-run]
# Fails on what is unknown, malformed or contradictory. With --file (an EnvironmentFile) it asks no cluster.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
file=

while [ $# -gt 0 ]; do
  case $1 in
    --file) file=${2-}; shift ;;
    --namespace) namespace=${2-}; shift ;;
    --dry-run) dry=1 ;;
    *) usage ;;
  esac
  shift || usage
done

if [ -n "$file" ]; then
  [ -r "$file" ] || fail "cannot read $file"
  # Taken as systemd does, line by line: nothing in it is executed.
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in ''|'#'*) continue ;; esac
    name=${line%%=*} value=${line#*=}
    case $name in ''|*[!A-Za-z0-9_]*|"$line") fail "$file: not NAME=VALUE: ${line%%=*}" ;; esac
    value=${value#\"} value=${value%\"}
    export "$name=$value"
  done <"$file"
  run command terrace config check
else
  terrace config check
fi
