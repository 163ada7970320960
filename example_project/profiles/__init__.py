"""People with pictures."""
