"""A page of photographs: one card for each way to show an image, with the code that does it."""
