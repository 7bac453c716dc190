"""The subcommands of ``python -m hrcnn_jax``: each module adds its flags and runs."""
