"""What each tenant has in a schema of its own."""
