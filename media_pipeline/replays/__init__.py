"""Getting back what was missed: what to run again, in which portions, and what it came to.

Belongs here: decisions and their order, over ports. Must not be here: network, Dagster,
settings, printing. Dead letters have a room of their own, `media_pipeline.dead_letters`.
"""
