#!/usr/bin/env bash
# A Kubernetes cluster on this machine (kind) with the chart of this repository, one sample through it.
# Servers are those of deploy/compose, on the cluster's Docker network; make kind-up calls this.
# May be repeated: what is there already stays. deploy/runbooks/kubernetes-bring-up.md explains it.
set -euo pipefail
cd "$(dirname "$0")/../.."

CLUSTER=media
NAMESPACE=media
REGISTRY=media-registry
REGISTRY_PORT=5001
export SECRETS="$PWD/.local/compose"

for tool in docker kind kubectl helm; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: see deploy/runbooks/kubernetes-bring-up.md" >&2; exit 1; }
done
docker info >/dev/null 2>&1 || { echo "Docker does not answer: is its daemon running, and may $USER use it?" >&2; exit 1; }

compose() { docker compose --file deploy/compose/compose.yaml "$@"; }

echo "== image, and a registry that gives it a digest"
compose build code
docker inspect "$REGISTRY" >/dev/null 2>&1 \
  || docker run --detach --restart unless-stopped --name "$REGISTRY" \
       --publish "127.0.0.1:$REGISTRY_PORT:5000" registry:2.8.3
docker tag media-pipeline:local "localhost:$REGISTRY_PORT/media-pipeline:local"
docker push --quiet "localhost:$REGISTRY_PORT/media-pipeline:local"
digest=$(docker inspect --format '{{index .RepoDigests 0}}' "localhost:$REGISTRY_PORT/media-pipeline:local")
digest="sha256:${digest##*sha256:}"

echo "== cluster"
kind get clusters | grep -qx "$CLUSTER" || kind create cluster --name "$CLUSTER" --wait 180s --config - <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  - |-
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
EOF
kubectl config use-context "kind-$CLUSTER"
for node in $(kind get nodes --name "$CLUSTER"); do
  docker exec "$node" mkdir -p "/etc/containerd/certs.d/localhost:$REGISTRY_PORT"
  docker exec --interactive "$node" \
    cp /dev/stdin "/etc/containerd/certs.d/localhost:$REGISTRY_PORT/hosts.toml" \
    <<<"[host.\"http://$REGISTRY:5000\"]"
done

echo "== servers, on the cluster's network too"
compose up --detach prepare
connected() { docker network inspect kind --format '{{range .Containers}}{{println .Name}}{{end}}' | grep -qx "$1"; }
connected "$REGISTRY" || docker network connect kind "$REGISTRY"
for service in kafka postgres postgrest object-store vault; do
  container=$(docker inspect --format '{{slice .Name 1}}' "$(compose ps --quiet "$service")")
  connected "$container" || docker network connect --alias "$service" kind "$container"
done
docker wait "$(compose ps --all --quiet prepare)" | grep -qx 0 \
  || { echo "prepare failed: docker compose logs prepare" >&2; exit 1; }

echo "== release"
kubectl get namespace "$NAMESPACE" >/dev/null 2>&1 || kubectl create namespace "$NAMESPACE"
secret() { kubectl -n "$NAMESPACE" create secret generic "$1" --from-env-file "$SECRETS/$2" --dry-run=client -o yaml | kubectl apply -f -; }
secret media-pipeline-dagster-storage pipeline.env
secret media-pipeline-credentials pipeline.env
secret media-pipeline-ledger-owner ledger-owner.env
secret media-pipeline-exporter exporter.env
compose run --rm --no-deps --no-TTY prepare cat /var/lib/media-pipeline/models.json > "$SECRETS/models.json"
helm upgrade --install media deploy/helm/media-pipeline --namespace "$NAMESPACE" \
  --values deploy/helm/media-pipeline/values-kind.yaml \
  --set "image.repository=localhost:$REGISTRY_PORT/media-pipeline,image.digest=$digest" \
  --set-file "models.registry=$SECRETS/models.json" \
  --wait --timeout 10m

echo "== one sample"
kubectl -n "$NAMESPACE" exec deploy/media-pipeline-code -- sh -c \
  'printf "Minutes of the meeting.\n" > /tmp/minutes.txt && media-pipeline ingest --wait /tmp/minutes.txt && media-pipeline show minutes.txt'
echo "The UI: kubectl -n $NAMESPACE port-forward svc/media-pipeline-webserver 3000:80"
