import base64

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
with open("chart.png", "rb") as file:
    picture = base64.b64encode(file.read()).decode()
response = client.chat.completions.create(
    model="gemini-3.8-flash",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What does this chart show?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
            ],
        }
    ],
)
print(response.choices[0].message.content)
