import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
response = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Hello!"}],
    safety_identifier="customer-42",
    extra_headers={
        "x-bridge-tags": "project=search, env=prod",
        "x-bridge-stop-at": "0.01",
    },
)
print(response.choices[0].message.content)

receipt = client.get(f"/requests/{response.id}", cast_to=object)
print(receipt["end_user"], receipt["tags"], receipt["stop_at"])
