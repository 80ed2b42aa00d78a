"""The versioned model: its bundle, its network, and which one is current."""
