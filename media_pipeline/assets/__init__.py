"""The Dagster assets: one per workload, thin.

Each loads the batch's keys, claims them, hands files to the workers and streams named
outcomes to its IO manager. Belongs here: that sequence and what operators read about it
in the UI. Must not be here: clients, decoders, decisions about dead letters. The outside
world comes through `media_pipeline.domain.ports`.
"""
