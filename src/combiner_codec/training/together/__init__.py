"""Steps of all operating points and of their network."""
