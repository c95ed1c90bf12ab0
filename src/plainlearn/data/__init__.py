"""From files, lists and tensors to batches. It knows nothing of models or training."""
