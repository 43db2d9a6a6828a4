"""Translation: an encoder, a decoder with attention to the source, and the search for a sentence."""
