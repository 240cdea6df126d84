"""What the benchmarks share: pages of sections, charts, how a page was made."""
