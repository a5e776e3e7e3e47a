"""The HTTP application: the STAC API, the jobs and their health.

Here belong routes and their documents. Not here: SQL (`ledger`, `pgstac`) and rules.
"""
