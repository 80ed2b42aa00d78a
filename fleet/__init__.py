"""The domain: telemetry, features, detection, the partition pipeline and live delivery; no Ray, no FastAPI."""
