import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
for model in client.models.list():
    print(model.id, model.context_length, model.pricing["prompt"], model.status)
