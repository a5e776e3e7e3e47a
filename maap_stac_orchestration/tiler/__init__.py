"""The tiler: titiler-pgstac as the stack serves it, maps and pictures of what was ingested.

Here belongs how titiler-pgstac is set up: its connection to the database, and what it may read. Not here: which tiles
there are, which is titiler's own.
"""
