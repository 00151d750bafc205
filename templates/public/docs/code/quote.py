import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
quote = client.post(
    "/quote",
    cast_to=object,
    body={
        "model": "claude-sonnet-5-5",
        "messages": [{"role": "user", "content": "Write a poem"}],
        "max_tokens": 500,
    },
)
print(quote["max_cost"], quote["available"], quote["refusal"])
