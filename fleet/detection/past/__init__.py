"""A vehicle's past, compiled: what is remembered of it, and what that makes of its next event.

`records` lays out what is remembered, `clock` follows times, `values` reads channels, `memory` remembers them,
`answer` says the features, and `kernel` is the loop over events. `fleet.detection.windows` keeps the arrays.
"""
