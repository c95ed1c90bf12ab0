"""A file to upright pixels: formats, headers, decoding, memory, cache. No torch."""
