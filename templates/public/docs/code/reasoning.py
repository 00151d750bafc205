import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
response = client.chat.completions.create(
    model="claude-sonnet-5-5",
    messages=[{"role": "user", "content": "Is 2027 prime?"}],
    reasoning_effort="medium",
)
message = response.choices[0].message
print(message.reasoning_content)
print(message.content)
