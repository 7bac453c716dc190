"""Codes to pictures: tiles, planes, colour, and what comes back."""
