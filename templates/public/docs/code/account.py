import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
key = client.get("/key", cast_to=object)
print(key["label"], key["limits"], key["budget"])

credits = client.get("/credits", cast_to=object)
print(credits["available"], credits["held"])
