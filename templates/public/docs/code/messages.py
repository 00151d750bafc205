import anthropic

client = anthropic.Anthropic(
    api_key="$key",
    base_url="$site",
)
message = client.messages.create(
    model="gpt-4o",
    max_tokens=500,
    messages=[{"role": "user", "content": "Hello!"}],
)
print(message.content[0].text)
