"""Prequential (test-then-train) protocol, metrics, baselines, drift, held-out evaluation."""
