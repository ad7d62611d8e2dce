"""Vectors and rerank scores: queue, batches and the loop that computes them."""
