"""One module for each client, run by the Python of its environment, without this project's code."""
