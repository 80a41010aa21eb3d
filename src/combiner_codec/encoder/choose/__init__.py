"""What is decided before a fit: operating point, classes, merged tiles, goals."""
