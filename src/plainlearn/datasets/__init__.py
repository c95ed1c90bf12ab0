"""Where data come from: `untar_data`, archives, records in shards, remote files. It knows nothing of samples or batches."""
