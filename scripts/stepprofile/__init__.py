"""Where the time of an engine's steps goes: scripts/profile_step."""
