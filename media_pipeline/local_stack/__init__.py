"""The embedded stack: real servers from wheels, for a machine without Docker.

PostgreSQL, SeaweedFS (S3), Tansu (Kafka protocol), OpenBao (Vault API) and a stand-in for
PostgREST, all on 127.0.0.1, as children of the process that starts them. For demos,
development and tests; production runs none of this. One module per server; `stack` joins
them. Must not be here: anything that the pipeline itself needs at run time.
"""
