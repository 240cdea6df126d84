"""EVENT_DTYPE, packets, labels, time bins, and the event ledger."""
