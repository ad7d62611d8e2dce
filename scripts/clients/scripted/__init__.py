"""A server whose model says what a script says; everything but the choice of text is real."""
