"""What a page shows, read from a run's files."""
