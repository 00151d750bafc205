import anthropic

client = anthropic.Anthropic(
    api_key="$key",
    base_url="$site",
)
with client.messages.stream(
    model="gpt-4o",
    max_tokens=500,
    messages=[{"role": "user", "content": "Write a poem"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    message = stream.get_final_message()
print(f"\n{message.stop_reason}, {message.usage.output_tokens} tokens")
