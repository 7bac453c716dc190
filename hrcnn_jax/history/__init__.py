"""What was done to a picture before: signs of earlier compressions."""
