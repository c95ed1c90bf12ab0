"""The web: a server that answers for a model file, and its page. It imports `inference`, never training."""
