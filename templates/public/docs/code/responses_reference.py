import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
question = {"role": "user", "content": "Name a river."}
first = client.responses.create(model="claude-sonnet-5-5", input=[question])
second = client.responses.create(
    model="claude-sonnet-5-5",
    input=[
        question,
        {"type": "item_reference", "id": first.output[-1].id},
        {"role": "user", "content": "Where does it rise?"},
    ],
)
print(second.output_text)
