"""The checks of scripts/gpu_check, for a machine with a GPU; they compile nothing."""
