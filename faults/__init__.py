"""The fault suite: the real system under load, one fault after another, and the books of what came out."""
