"""Who may write to which collection: default ids, the registry and the decision.

Here a decision is decided, and nowhere else. Not here: where registries are read from (`store`, `ledger`) and how the
outcome is carried out (`pipeline`). Pure: plain values in, plain values out.
"""
