"""From JSON schemas to grammars, and which keywords a grammar cannot express."""
