"""Makes those parts of the documentation that are taken from a running stack, so that they show what there is.

Here belong the commands behind `make notebook` and `make screenshots`. Not here: anything that users run.
"""
