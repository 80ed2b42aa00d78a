"""What one gateway replica is made of: routes, sockets, on-demand scoring, and the thread that follows the results."""
