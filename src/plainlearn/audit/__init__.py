"""What is wrong with a data set before training, as text, JSON, page."""
