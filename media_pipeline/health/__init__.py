"""Health: the runbook's daily checks, and what the answers mean.

`findings` holds the rules, pure; `daily` asks the ports. Belongs here: what is usual, what is
not, and the remedy. Must not be here: adapters, Dagster, the command line.
"""
