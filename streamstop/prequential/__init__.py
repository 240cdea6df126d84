"""Prequential (test-then-train) evaluation: scores, and the baselines that stand beside them."""
