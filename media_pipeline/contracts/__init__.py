"""What travels on the topics: bytes in, values out, and back.

Tolerant readers: unknown fields are kept, unknown versions rejected. JSON Schemas for
producers and consumers lie in `schemas/`. Must not be here: clients, Dagster, decisions
about what happens to a rejected message.
"""
