"""Processing: bytes in, frozen result out.

Pure functions over one uploaded file. Belongs here: decoding, what to extract, limits.
Must not be here: Dagster, network, environment, files, telemetry. Every decoder failure is
a named outcome; nothing but MemoryError leaves a processor. Codecs are imported where used,
because a worker preloads them and nobody else should pay for them.
"""
