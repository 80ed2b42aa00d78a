"""From columns to verdicts and episodes: windows, features, errors, calibration."""
