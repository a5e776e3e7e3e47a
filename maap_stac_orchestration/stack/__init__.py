"""The local stack: PostgreSQL, object store, Dagster and API as supervised processes of one home folder.

Here belongs how the parts are installed, started, watched and stopped. Not here: what the parts do.
"""
