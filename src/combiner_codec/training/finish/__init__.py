"""What becomes of learned operating points: a prior file."""
