"""Dagster assets: what a run materialises. Thin: each asset calls one stage of the library and reports what it did.

Here belong asset and check definitions, their metadata and IO managers. Not here: any rule, SQL or S3 call.
"""
