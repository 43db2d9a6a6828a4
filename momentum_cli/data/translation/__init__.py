"""Parallel text: sentences and their translations, as subwords."""
