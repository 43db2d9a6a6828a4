"""Recipes: everything that determines a run; reading, checking, shipping, drafting and building them."""
