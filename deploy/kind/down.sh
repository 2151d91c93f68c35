#!/usr/bin/env bash
# Takes away what up.sh made: the cluster, the registry, the servers and their data.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SECRETS="$PWD/.local/compose"
kind delete cluster --name media
docker rm --force --volumes media-registry >/dev/null 2>&1 || true
docker compose --file deploy/compose/compose.yaml down --volumes
