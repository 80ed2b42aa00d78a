"""The gateway's door: who asks, whether they may, and what is noted of it. `guard` stands before every route."""
