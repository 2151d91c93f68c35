"""Sensors: what turns messages into runs and the outbox into events.

`cursor` and `batch_plan` are pure; `media_events` and `outbox_relay` hold the Dagster sensors.
A tick reads bounded amounts, says what it saw, and keeps no state but its cursor. Must not
be here: media downloads, adapters (they come as ports), processing.
"""
