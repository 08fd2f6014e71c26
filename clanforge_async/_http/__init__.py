"""Everything between a method of the client and the network."""
