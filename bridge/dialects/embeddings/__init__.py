"""What clients of OpenAI's embeddings speak."""
