"""What the handlers of all dialects do: find the model, start the answer, write it."""
