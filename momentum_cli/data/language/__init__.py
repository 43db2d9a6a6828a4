"""Text: tokens, and what follows them."""
