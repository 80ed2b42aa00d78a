"""Episodes over REST: finding them, and what people do about them."""
