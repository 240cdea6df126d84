"""What a page says, as text."""
