"""media_pipeline: enrich the media that people upload.

Rooms: `domain` and `errors` (vocabulary), `contracts` (Kafka bytes in and out),
`processing` (pure: bytes in, result out), `workers` (the cage around it),
`assets` (Dagster assets), `dead_letters`, `cli`, `local_stack`, `settings`
and `definitions` (composition root).  `sensors` and `resources` are top-level
packages beside this one.  Importing this package does nothing.
"""

__version__ = "0.1.0"
