import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
response = client.chat.completions.create(
    model="claude-sonnet-5-5",
    messages=[{"role": "user", "content": "Hello!"}],
    extra_body={"models": ["gpt-6.2-sol", "gemini-3.8-flash"]},
)
print(response.model, response.choices[0].message.content)
