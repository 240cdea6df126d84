"""Programs that measure streamstop; each writes its own page in docs/results."""
