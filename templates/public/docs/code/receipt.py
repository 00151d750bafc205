import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
response = client.chat.completions.create(
    model="deepseek-flash",
    messages=[{"role": "user", "content": "Hello!"}],
    extra_headers={"x-bridge-max-cost": "0.05"},
)
print(response.usage.cost)

receipt = client.get(f"/requests/{response.id}", cast_to=object)
print(receipt["charge"], receipt["hold"], receipt["balance_after"])
for line in receipt["price"]["lines"]:
    print(line["class"], line["count"], line["amount"])
