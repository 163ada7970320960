"""What the package costs, as ratios to something named and measured in the same run."""
