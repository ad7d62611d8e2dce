"""Where the server listens: addresses, sockets, and who may connect to them."""
