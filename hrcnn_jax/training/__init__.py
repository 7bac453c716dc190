"""Training: settings, tasks, steps, checkpoints, release."""
