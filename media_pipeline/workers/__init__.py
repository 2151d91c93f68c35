"""The cage: decoders run in processes that can be limited, watched and killed.

`zygote` preloads the processors once and forks warm workers from itself; `worker` is what a
fork does; `pool` hands out files and survives whatever happens to a worker. Not
multiprocessing: its children import the parent's main module, which is Dagster here. Must
not be here: Dagster, clients, what to do with an outcome.
"""
