"""Models as configuration: what is in use, where its file lies, how a new one takes its place.

Belongs here: manifests, the registry file, import from a published model, the comparison of
two models. Must not be here: Dagster, clients (files come and go through the object store's
port), running a model (`processing`).
"""
