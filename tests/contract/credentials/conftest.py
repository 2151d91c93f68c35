"""A corner of the real OpenBao for each test: logins, secrets and identities of its own."""

import uuid

import hvac
import pytest

from media_pipeline.settings import VaultSettings


class Corner:
    """What a test may change without a neighbour noticing."""

    def __init__(self, stack):
        self.stack = stack
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.client = hvac.Client(url=stack.vault_address, token=stack.vault_token)
        self.policy("read", "update")

    def post(self, path, **body):
        return self.client.adapter.post(f"/v1/{path}", json=body)

    def policy(self, *capabilities):
        """What a login of this corner may do with its secret and its identity."""
        words = ", ".join(f'"{one}"' for one in capabilities)
        rules = [
            f'path "{path}" {{ capabilities = [{words}] }}'
            for path in (f"secret/data/{self.name}", f"identity/oidc/token/{self.name}",
                         f"database/creds/{self.name}", "sys/leases/renew")
        ]  # fmt: skip
        self.client.sys.create_or_update_acl_policy(self.name, "\n".join(rules))

    def write(self, **values):
        self.client.secrets.kv.v2.create_or_update_secret(
            path=self.name, secret=values, mount_point="secret"
        )

    def approle(self, **options) -> dict[str, str]:
        """Fields of VaultSettings that log in with a new secret id."""
        self.post(f"auth/approle/role/{self.name}", token_policies=[self.name],
                  **{"token_ttl": "1h", **options})  # fmt: skip
        role_id = self.client.auth.approle.read_role_id(self.name)["data"]["role_id"]
        return {"auth": "approle", "role_id": role_id, "secret_id": self.secret_id()}

    def secret_id(self, wrap_ttl=None) -> str:
        made = self.client.auth.approle.generate_secret_id(self.name, wrap_ttl=wrap_ttl)
        return made["wrap_info"]["token"] if wrap_ttl else made["data"]["secret_id"]

    def settings(self, **changes) -> VaultSettings:
        fields = {"address": self.stack.vault_address, "path": self.name,
                  "identity_role": self.name, "database_role": self.name}  # fmt: skip
        return VaultSettings(**{**fields, **changes})

    def tokens_of_role(self) -> int:
        """How many logins of this corner live."""
        found = 0
        for accessor in self.client.list("auth/token/accessors")["data"]["keys"]:
            try:
                about = self.client.auth.token.lookup_accessor(accessor)["data"]
            except hvac.exceptions.VaultError:
                continue
            found += self.name in about["policies"]
        return found


@pytest.fixture
def corner(stack):
    return Corner(stack)


@pytest.fixture
def unreachable():
    """An address where nobody answers."""
    return "http://127.0.0.1:1"
