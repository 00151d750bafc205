import base64

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
harbour = client.images.generate(model="gpt-image-1-mini", prompt="A harbour", quality="low")
stream = client.images.edit(
    model="gpt-image-1-mini",
    image=("harbour.png", base64.b64decode(harbour.data[0].b64_json)),
    prompt="The same at night",
    quality="low",
    stream=True,
    partial_images=1,
)
for event in stream:
    print(event.type, len(base64.b64decode(event.b64_json)))
