import anthropic

client = anthropic.Anthropic(
    api_key="$key",
    base_url="$site",
)
count = client.messages.count_tokens(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Hello!"}],
)
print(count.input_tokens)
