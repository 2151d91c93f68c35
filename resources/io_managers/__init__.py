"""IO managers: where Dagster assets of many media assets are kept.

`object_store` keeps files and hands descriptors downstream; `metadata` records results
in the ledger; `partition_events` and `input_versions` are the places that touch Dagster's
private parts. Each may be used on its own, see its docstring. Must not be here: decisions about
media, clients.
"""
