"""What can go wrong with the local stack as a whole. What can go wrong with the database alone stands in `postgres`."""

from __future__ import annotations


class StackError(Exception):
    """The local stack cannot do what was asked; the message is one sentence or two: what is wrong and what to do."""
