"""Telling people and programs that a job ended: what they are told, and how each kind of endpoint is reached.

Here belong addresses that may be used, messages, and one sender for each kind. Not here: when something is sent and
what becomes of it (`pipeline.notify`), and who is told (`ledger.endpoints`).
"""
