"""What can be in the way of STAC Browser, as sentences for whoever wants to see it."""

from __future__ import annotations


class BrowserUnavailable(Exception):
    """STAC Browser cannot be had; the message is one sentence on why and what to do."""
