"""STAC documents as plain dictionaries: following links, checking items, making them ready to write.

Here belong rules about STAC documents of a job. Not here: fetching them (`store`) and whose they are (`dps`). Pure.
"""
