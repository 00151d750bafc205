import base64

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
with open("invoice.pdf", "rb") as file:
    pages = base64.b64encode(file.read()).decode()
response = client.chat.completions.create(
    model="claude-sonnet-5-5",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "When is this invoice due?"},
                {
                    "type": "file",
                    "file": {
                        "filename": "invoice.pdf",
                        "file_data": f"data:application/pdf;base64,{pages}",
                    },
                },
            ],
        }
    ],
)
print(response.choices[0].message.content)
