"""What connected screens are sent, and the fleet as they see it."""
