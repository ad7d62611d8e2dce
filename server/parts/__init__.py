"""The parts of the application that are created together, and connected by server.app."""
