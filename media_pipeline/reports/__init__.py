"""Reports: pages for people, each one file that needs nothing else and runs nothing.

Belongs here: values to HTML. Must not be here: asking anybody for the values, scripts.
"""
