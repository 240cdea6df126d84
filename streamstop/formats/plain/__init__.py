"""Formats without a vendor: text, NumPy arrays, N-MNIST's .bin."""
