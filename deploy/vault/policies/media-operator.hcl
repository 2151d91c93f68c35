# People and their tools: dead letters, replays. Log in by OIDC or userpass, not by AppRole.

path "identity/oidc/token/media-operator" {
  capabilities = ["read"]
}

path "secret/data/media-pipeline/kafka/operator" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
