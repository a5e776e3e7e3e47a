"""What the DPS writes and how it names it: output prefixes, job metadata, whose job it is.

Here belong rules about keys and the sidecar file. Not here: STAC documents (`catalog`) and who may write where
(`governance`). Pure: plain values in, plain values out.
"""
