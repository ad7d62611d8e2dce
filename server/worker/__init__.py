"""The worker process: one loaded model. The HTTP process never imports this package."""
