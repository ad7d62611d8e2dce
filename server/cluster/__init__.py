"""Several replicas of the server behind one address, by Ray Serve (the extra `cluster`)."""
