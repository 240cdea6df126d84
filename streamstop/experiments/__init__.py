"""Many runs: seeds, aggregation, comparison, significance."""
