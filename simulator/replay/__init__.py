"""Recorded data sets stream through the live system: each recording becomes a vehicle."""
