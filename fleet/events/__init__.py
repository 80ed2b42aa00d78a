"""What vehicles send: channel specifications, and the decoding of telemetry."""
