"""What becomes of failures: pure rules, no clients.

`policy` maps errors to named outcomes. Must not be here: network, Dagster, writing.
"""
