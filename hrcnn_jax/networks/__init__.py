"""The networks: what they compute, what is asked about them, and the released weights."""
