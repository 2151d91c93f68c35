"""Telemetry: what the system tells about itself. Records, decides nothing.

Belongs here: how figures are gathered and named. Must not be here: what is done about them,
and any import from assets, sensors or resources.
"""
