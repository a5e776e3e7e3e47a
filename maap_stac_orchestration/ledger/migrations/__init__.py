"""The ledger's Alembic scripts. One file a change, named by its revision; a file that was released is never edited."""
