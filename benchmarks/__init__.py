"""How fast the parts and the whole are, beside a hand-written loop and beside what a user would pick instead."""
