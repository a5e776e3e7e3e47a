"""Simulated DPS jobs with real COGs: what `maap-stac demo` submits.

Here belongs what the demo writes and how it is followed. Not here: anything that ingests.
"""
