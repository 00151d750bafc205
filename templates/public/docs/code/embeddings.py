import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
answer = client.embeddings.create(
    model="text-embedding-3-small",
    input=["A harbour at night", "A quiet street"],
)
for item in answer.data:
    print(item.index, len(item.embedding), item.embedding[:3])
