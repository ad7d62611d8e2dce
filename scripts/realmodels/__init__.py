"""Tests with trained models: scripts/real_models fetches them, scripts/test_real_models uses them."""
