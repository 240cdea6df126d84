"""Batched training over epochs."""
