"""A controller far away, asked by HTTP. What its answers mean is known elsewhere; here is how they come."""
