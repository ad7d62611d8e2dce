"""JSON schemas of answers as llguidance takes them, for masks of the tokens that may come next."""
