"""The changes of the ledger's schema, in order of their names."""
