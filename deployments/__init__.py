"""Ray wiring: the ingest pool, the scorers and the gateway as one Serve application."""
