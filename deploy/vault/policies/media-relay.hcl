# The outbox relay: publishes events (kafka_password).

path "identity/oidc/token/media-relay" {
  capabilities = ["read"]
}

path "secret/data/media-pipeline/kafka/relay" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
