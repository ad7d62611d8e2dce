"""The command line: flags, environment variables, their help."""
