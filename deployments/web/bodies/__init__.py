"""The bodies of requests: read within bounds of size, time and memory, and taken apart without holding the loop up."""
