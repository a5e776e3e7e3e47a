"""Writing collections and items to pgstac, and counting them back.

Here belongs all SQL about pgstac. Not here: what may be written where (`governance`) and what was (`ledger`).
"""
