"""The tiler: titiler-pgstac as the stack serves it, maps and pictures of what was ingested.

Here belongs how titiler-pgstac is set up: which of its routes there are, its connection to the database, what it may
read and how much of it, and what its errors say. Not here: how pictures are made, which is titiler's own.
"""
