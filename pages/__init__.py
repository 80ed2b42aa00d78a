"""What the pages have in common that show figures measured elsewhere: how they look, and how plots stand in them."""
