"""The three stages, read, decide and load, as plain functions over a batch.

Here belongs what happens to a batch, whoever asks for it: a Dagster run, the command line or a test. Not here: the
rules themselves (the pure floors), SQL (`ledger`, `pgstac`), and when to run (`sensors`).
"""
