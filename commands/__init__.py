"""The `fleet` command: one module per command, each calling the part it names."""
