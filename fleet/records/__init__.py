"""What each topic holds: shape, writer and reader."""
