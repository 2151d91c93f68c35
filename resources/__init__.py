"""Adapters: the ports of `media_pipeline.domain.ports` on real systems, as Dagster resources.

Belongs here: clients, their error mapping, IO managers, and `build.py`, which makes all of
them from settings. Must not be here: assets, sensors, processing.
"""
