"""Who asks: JWT (HS256, or RS256 by JWKS) to a database role, as PostgREST does it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from media_pipeline.local_stack.postgrest_errors import ApiError


@dataclass(frozen=True, slots=True)
class Caller:
    """The role to take and the claims to show to SQL as `request.jwt.claims`."""

    role: str
    claims: dict[str, Any]


class Authenticator:
    """`secret` is a shared secret, a JWK or JWKS document as JSON, or `@file` with one of these."""

    def __init__(self, secret: str, anonymous_role: str, audience: str = "") -> None:
        self._anonymous = anonymous_role
        self._audience = audience
        self._secret = secret
        self._keys: list[tuple[Any, str]] = []
        self.reload()

    def reload(self) -> None:
        """Read the file again, as PostgREST does when its configuration is reloaded."""
        text = self._secret
        if text.startswith("@"):
            text = Path(text[1:]).read_text().strip()
        self._keys = _keys_of(text)

    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an Authorization header; none means the anonymous role."""
        if not authorization:
            return Caller(self._anonymous, {"role": self._anonymous})
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "PGRST301", "the Authorization header is not a bearer token")
        claims = self._decode(token.strip())
        meant_for = claims.get("aud")
        meant_for = [meant_for] if isinstance(meant_for, str) else meant_for
        # As PostgREST does: a token that names nobody is for everybody.
        if self._audience and meant_for and self._audience not in meant_for:
            raise ApiError(401, "PGRST303", "JWT not in audience")
        role = claims.get("role", self._anonymous)
        if not isinstance(role, str):
            raise ApiError(401, "PGRST301", "the role claim is not a string")
        return Caller(role, claims)

    def _decode(self, token: str) -> dict[str, Any]:
        problem: jwt.PyJWTError | None = None
        for key, algorithm in self._keys:
            try:
                return dict(jwt.decode(token, key, [algorithm], options={"verify_aud": False}))
            except jwt.ExpiredSignatureError as error:
                raise ApiError(401, "PGRST303", "JWT expired") from error
            except jwt.PyJWTError as error:
                problem = error
        raise ApiError(401, "PGRST301", f"JWT could not be verified: {problem}") from problem


def _keys_of(text: str) -> list[tuple[Any, str]]:
    try:
        document = json.loads(text)
    except ValueError:
        return [(text, "HS256")]
    found = [jwt.PyJWK(entry) for entry in document.get("keys", [document])]
    return [(key.key, key.algorithm_name) for key in found]
