"""The scheduler: which sequences a step computes, how many tokens of each, and their text."""
