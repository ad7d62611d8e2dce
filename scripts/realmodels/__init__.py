"""Trained models: scripts/real_models fetches them, scripts/test_real_models tests with them."""
