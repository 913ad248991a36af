"""What a machine gives: cards, memory, and the precision of its matrix products."""
