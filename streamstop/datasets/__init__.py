"""Training and test sets in memory."""
