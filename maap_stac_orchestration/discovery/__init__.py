"""Finding catalogs: events from a queue, and listings of a bucket by day.

Here belongs how a catalog comes to notice. Not here: remembering it (`ledger`) and reading it (`pipeline`).
"""
