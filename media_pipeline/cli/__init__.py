"""`media-pipeline`: the command line of operators and of the demo.

One module per command or family; each exposes `register(app)`. Belongs here: arguments,
progress, tables, exit codes. Must not be here: decisions; they live in the rooms that
the commands call. Heavy imports happen inside the commands, so `--help` is quick.
"""
