"""Text to batches: datasets, tokenizer, token cache, packing, loader and evaluation streams."""
