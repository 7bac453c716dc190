"""The maths of JPEG: transform, tables, colour; pure functions."""
