"""Vectors by LangChain: of tokens, as it sends them by default, and of texts."""

import json
import sys

from langchain_openai import OpenAIEmbeddings

base_url, key, model = sys.argv[1:]
# a vocabulary that is at hand: that of this model would be looked for on the internet
known = {"model": model, "base_url": base_url, "api_key": key, "max_retries": 0, "tiktoken_model_name": "gpt-4o"}
texts = ["one two three", "four"]
of_tokens = OpenAIEmbeddings(**known).embed_documents(texts)
of_texts = OpenAIEmbeddings(**known, check_embedding_ctx_length=False).embed_documents(texts)
print(json.dumps([of_tokens, of_texts]))
