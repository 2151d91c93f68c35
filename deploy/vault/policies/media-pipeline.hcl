# One policy for a small installation, where every component runs as the same workload.
# It says who it is, reads the secrets that have no better home, and looks after its own token.

path "identity/oidc/token/media-pipeline" {
  capabilities = ["read"]
}

path "secret/data/media-pipeline" {
  capabilities = ["read"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
