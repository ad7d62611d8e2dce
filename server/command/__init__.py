"""The command `llamabind`: one module for each subcommand; see main.COMMANDS."""
