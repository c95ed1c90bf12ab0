"""Networks by name, their weights, heads, the U-Net."""
