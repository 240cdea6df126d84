"""Cameras by name, through the driver that sees them."""
