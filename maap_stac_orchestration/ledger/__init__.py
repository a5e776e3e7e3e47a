"""The Postgres tables that remember every catalog ever seen, its state, decisions, problems and items.

Here belongs all SQL about the ledger, and its migrations. Not here: SQL about pgstac (`pgstac`).
"""
