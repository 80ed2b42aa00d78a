"""How a system is started on one machine: Ray's variables, the Serve config, a supervisor, a Ray cluster."""
