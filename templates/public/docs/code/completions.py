import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
answer = client.completions.create(
    model="deepseek-flash",
    prompt="def fib(n):\n    ",
    suffix="\n    return fib(n - 1) + fib(n - 2)",
    max_tokens=64,
)
print(answer.choices[0].text)
