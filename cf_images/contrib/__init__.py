"""For other packages and people's own admins: each module imports what it is for, and nothing imports it."""
