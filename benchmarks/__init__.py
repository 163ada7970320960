"""``python -m benchmarks``: what the package costs, as ratios against something named in the same run."""
