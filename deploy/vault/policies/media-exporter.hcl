# The exporter of metrics: reads the ledger and the event log's offsets.

path "identity/oidc/token/media-exporter" {
  capabilities = ["read"]
}

path "secret/data/media-pipeline/kafka/exporter" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
