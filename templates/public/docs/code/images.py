import base64

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
answer = client.images.generate(
    model="gpt-image-1-mini",
    prompt="A harbour at night",
    quality="low",
)
with open("harbour.png", "wb") as file:
    file.write(base64.b64decode(answer.data[0].b64_json))
print(answer.size, answer.usage.output_tokens, answer.usage.cost)
