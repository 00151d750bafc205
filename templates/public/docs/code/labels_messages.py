import anthropic

client = anthropic.Anthropic(
    api_key="$key",
    base_url="$site",
)
message = client.messages.create(
    model="gpt-4o",
    max_tokens=500,
    messages=[{"role": "user", "content": "Hello!"}],
    metadata={"user_id": "customer-42"},
    extra_headers={
        "x-bridge-tags": "project=search, env=prod",
        "x-bridge-stop-at": "0.01",
    },
)
print(message.content[0].text)

receipt = client.get(f"/v1/requests/{message.id}", cast_to=object)
print(receipt["end_user"], receipt["tags"], receipt["stop_at"])
