"""The web: a server that answers for a model file, and its page. It imports `inference` and `vision`, never training."""
