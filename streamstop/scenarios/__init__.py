"""Worlds that change: orders of segments with domains in them, and corruptions of events."""
