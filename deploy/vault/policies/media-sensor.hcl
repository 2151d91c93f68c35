# The sensors: read the event log (kafka_password) and register in the ledger.

path "identity/oidc/token/media-sensor" {
  capabilities = ["read"]
}

path "secret/data/media-pipeline/kafka/sensor" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
