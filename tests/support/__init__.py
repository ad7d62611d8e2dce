"""What tests share: fakes, files made on the fly, servers to start."""
