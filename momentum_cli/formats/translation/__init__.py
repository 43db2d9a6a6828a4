"""Translation models for other programs: an archive of an encoder, a step of the decoder, and the subwords."""
