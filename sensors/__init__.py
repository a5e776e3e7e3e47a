"""Dagster sensors and schedules: when to run. Thin: each evaluates a function of the library and asks for runs.

Here belong triggers. Not here: what a run does (`assets`) and how catalogs are found (the library's `discovery`).
"""
