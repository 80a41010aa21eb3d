"""What learning begins with."""
