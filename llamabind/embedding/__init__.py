"""Embeddings and rerank scores: the queue of inputs, its batches, and the thread that computes."""
