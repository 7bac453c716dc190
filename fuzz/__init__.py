"""Coverage-guided fuzzing of all that parses what strangers send: `python -m fuzz`."""
