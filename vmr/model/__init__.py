"""What the networks of all methods share: layers, losses, predictions, and spans on the time line."""
