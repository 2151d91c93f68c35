"""AssumeRoleWithWebIdentity: an identity token for temporary keys of the object store."""

from __future__ import annotations

import email.utils
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from media_pipeline.domain.ports import ObjectStoreKeys
from media_pipeline.errors import SystemicError, TransientError
from media_pipeline.settings import ObjectStoreSettings
from resources.credentials.leases import Lease

_SERVER_ERROR = 500


def assume_role(settings: ObjectStoreSettings, token: str) -> Lease[ObjectStoreKeys]:
    """Keys and how long they live by the server's own clock, so that ours may be wrong.

    The token goes in the body: what stands in an address ends up in access logs. SystemicError
    `sts_refused` with the server's words, or `sts_wrong_endpoint`; TransientError
    `object_store_unavailable`.
    """
    import requests  # kept out of definitions' import

    endpoint = sts_endpoint(settings)
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "WebIdentityToken": token,
        "RoleSessionName": "media-pipeline",
        "DurationSeconds": str(settings.sts_seconds),
    }
    if settings.sts_role_arn:
        form["RoleArn"] = settings.sts_role_arn
    try:
        answer = requests.post(
            f"{endpoint}/",
            data=form,
            timeout=(settings.connect_timeout_seconds, settings.read_timeout_seconds),
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise TransientError(
            f"the STS at {endpoint} did not answer: {type(error).__name__}.",
            remedy="check that the object store is up and reachable; it is tried again.",
            code="object_store_unavailable",
        ) from error
    if answer.status_code >= _SERVER_ERROR:
        raise TransientError(
            f"the STS at {endpoint} answered {answer.status_code}.",
            remedy="check the object store's health; it is tried again.",
            code="object_store_unavailable",
        )
    found = _elements(answer.text, endpoint)
    if not answer.ok:
        raise SystemicError(
            f"the STS at {endpoint} refused {settings.sts_role_arn}:"
            f" {found.get('Code')} {found.get('Message')}.",
            remedy="check the role's trust policy, the identity provider that the store knows"
            " (issuer, client id, keys) and the clocks (deploy/runbooks/object-store-access.md).",
            code="sts_refused",
        )
    try:
        keys = ObjectStoreKeys(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]
        )
        ends = datetime.fromisoformat(found["Expiration"])
    except (KeyError, ValueError) as error:
        raise _not_sts(endpoint) from error
    now = email.utils.parsedate_to_datetime(answer.headers["Date"])
    return Lease(keys, (ends - now).total_seconds())


def sts_endpoint(settings: ObjectStoreSettings) -> str:
    """Where the STS is: by itself, or at the object store's own address."""
    scheme = "https" if settings.secure else "http"
    return (settings.sts_endpoint or f"{scheme}://{settings.endpoint}").rstrip("/")


def _elements(text: str, endpoint: str) -> dict[str, str]:
    """Local names of all leaves with their text; no leaf of these answers repeats."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root: Any = fromstring(text)
    except (ParseError, DefusedXmlException) as error:
        raise _not_sts(endpoint) from error
    leaves: list[Element] = list(root.iter())
    return {one.tag.rpartition("}")[2]: (one.text or "").strip() for one in leaves}


def _not_sts(endpoint: str) -> SystemicError:
    return SystemicError(
        f"{endpoint} does not answer like an STS.",
        remedy="check MEDIA_PIPELINE_OBJECT_STORE__STS_ENDPOINT and __ENDPOINT.",
        code="sts_wrong_endpoint",
    )
