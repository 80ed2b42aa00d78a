"""Mappings of recorded data sets onto telemetry, one TOML file each; `simulator.replay` reads them."""
