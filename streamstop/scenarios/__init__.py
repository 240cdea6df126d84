"""Non-stationary streams: orders of tasks and domains, corruptions of events."""
