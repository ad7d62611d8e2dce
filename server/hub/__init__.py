"""Downloads of models from a hub, such as huggingface.co."""
