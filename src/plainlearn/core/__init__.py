"""The floor of the house: errors, lists, paths, tensors, seeds. It imports nothing of plainlearn's."""
