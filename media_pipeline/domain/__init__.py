"""The vocabulary: frozen value types and the ports that adapters implement.

Belongs here: what a media asset, an outcome, a fingerprint *is*, and pure rules
over them.  Must not be here: anything that talks to a process, a file or a
network, and any import beyond the standard library and `media_pipeline.errors`.
"""
