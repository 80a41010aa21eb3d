"""Pictures to learn from."""
