"""hvac behind our error taxonomy: one door for every request to Vault or OpenBao."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import VaultSettings


class VaultApi:
    """Requests with a given token. hvac renews nothing by itself; `vault_session` does."""

    def __init__(self, settings: VaultSettings) -> None:
        self.settings = settings

    def client(self, token: str | None) -> Any:
        """An hvac client; redirects are refused, because the token would travel along."""
        import hvac  # kept out of definitions' import

        return hvac.Client(
            url=self.settings.address,
            # Not None: hvac would look for a token in the environment and in the home folder.
            token=token or "",
            timeout=self.settings.timeout_seconds,
            verify=self.settings.ca_file or True,
            namespace=self.settings.namespace,
            allow_redirects=False,
        )

    def read(self, token: str, path: str) -> dict[str, Any]:
        """GET /v1/<path>."""
        return self.call(path, lambda: self.client(token).adapter.get(f"/v1/{path}"))

    def write(self, token: str | None, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /v1/<path>."""
        return self.call(
            path, lambda: self.client(token).adapter.post(f"/v1/{path}", json=dict(body))
        )

    def call(self, doing: str, request: Callable[[], Any]) -> dict[str, Any]:
        """Run it; SystemicError `credentials_refused`, `credentials_missing` or `vault_tls`,
        TransientError `vault_unavailable`."""
        import hvac
        import requests

        at = f"Vault at {self.settings.address}"
        try:
            answer = request()
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized) as error:
            raise SystemicError(
                f"{at} refused {doing}: the token may not, or is no longer valid.",
                remedy=f"check the login, and that its policy allows {doing}.",
                code="credentials_refused",
            ) from error
        except hvac.exceptions.InvalidPath as error:
            raise SystemicError(
                f"{at} has nothing at {doing}.",
                remedy="write it there, or correct the mount, path or role in the settings.",
                code="credentials_missing",
            ) from error
        except hvac.exceptions.InvalidRequest as error:
            raise SystemicError(
                f"{at} did not accept {doing}: {_said(error)}.",
                remedy="check role, mount and the token or secret id of the login.",
                code="credentials_refused",
            ) from error
        except requests.exceptions.SSLError as error:
            raise SystemicError(
                f"{at} has a certificate that is not trusted.",
                remedy="set MEDIA_PIPELINE_VAULT__CA_FILE to the CA that signed it.",
                code="vault_tls",
            ) from error
        except hvac.exceptions.UnexpectedError as error:
            if error.errors or "gateway" in (error.text or "").lower():
                raise self._away(doing, error) from error
            raise self._wrong_endpoint(doing) from error
        except (hvac.exceptions.VaultError, requests.RequestException) as error:
            raise self._away(doing, error) from error
        if not isinstance(answer, dict):
            if getattr(answer, "status_code", 0) == 204:  # noqa: PLR2004  # done, nothing to say
                return {}
            raise self._wrong_endpoint(doing)
        return answer

    def _away(self, doing: str, error: Exception) -> TransientError:
        return TransientError(
            f"Vault at {self.settings.address} did not answer {doing}: {_said(error)}.",
            remedy="check that Vault is up, unsealed and reachable; it is tried again.",
            code="vault_unavailable",
        )

    def _wrong_endpoint(self, doing: str) -> SystemicError:
        return SystemicError(
            f"{self.settings.address} answered {doing}, but not like Vault.",
            remedy="check MEDIA_PIPELINE_VAULT__ADDRESS; redirects are not followed.",
            code="vault_wrong_endpoint",
        )


def _said(error: Exception) -> str:
    """Vault's own words, which quote no secret; else the kind of error, because ours may."""
    return "; ".join(map(str, getattr(error, "errors", None) or ())) or type(error).__name__
