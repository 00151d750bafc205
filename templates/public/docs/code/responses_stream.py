import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
stream = client.responses.create(
    model="claude-sonnet-5-5",
    input="Write a poem",
    stream=True,
    store=False,
)
for event in stream:
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
    elif event.type == "response.completed":
        print(f"\n{event.response.usage.output_tokens} tokens")
    elif event.type == "response.failed":
        print(f"\n{event.response.error.message}")
