"""The step loop over a loaded model: schedule, decode, sample, report."""
