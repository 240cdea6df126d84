"""Live sources: cameras, UDP, DV's TCP stream, and the recording of what they send."""
