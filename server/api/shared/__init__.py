"""Steps that the handlers of all dialects share: find the model, start the generation, write it."""
