import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
response = client.responses.create(
    model="claude-sonnet-5-5",
    input="Hello!",
    store=False,
)
print(response.output_text)
