"""Images: opening, geometry, augmentation, models, pictures of results."""
