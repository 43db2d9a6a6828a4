"""Translation: an encoder, a decoder with attention to what was read, and the search for a sentence."""
