"""A page of photographs: one card for each technique, with the code that runs."""
