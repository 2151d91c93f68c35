# A run: reads uploads, writes derived media, records. It never talks to Kafka.

path "identity/oidc/token/media-worker" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
