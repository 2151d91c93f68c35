"""What becomes of failures: pure rules, no clients.

`policy` maps errors to named outcomes; `grouping` says which letters have one cause;
`replay_plan` which of them a replay sends, and what; `export_lines` how they lie in a file;
`replay_proof` what a replay did. Must not be here: network, Dagster, writing.
"""
