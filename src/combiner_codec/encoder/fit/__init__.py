"""The posterior of a picture: its start, its gradients, its steps."""
