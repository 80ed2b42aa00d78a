"""Load tests against a running system: what goes in at a chosen rate, and what comes out where, when and how often."""
