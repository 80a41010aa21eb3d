"""Pictures between files, Pillow and arrays. Never torch."""
