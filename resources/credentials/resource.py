"""Credentials as a Dagster resource."""
# No postponed annotations: Dagster resolves resource types from the real ones.

import dagster as dg

from media_pipeline.domain.ports import CredentialSource
from media_pipeline.settings import load_settings
from resources.credentials.source import credential_source


class CredentialsResource(dg.ConfigurableResource[CredentialSource]):
    """Reads settings when a run or tick starts, so that no secret is in Dagster's config."""

    def create_resource(self, context: dg.InitResourceContext) -> CredentialSource:
        return credential_source(load_settings())
