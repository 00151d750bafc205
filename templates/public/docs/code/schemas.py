import json

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "day": {"type": "string", "description": "As 2027-01-31"},
    },
    "required": ["name", "day"],
    "additionalProperties": False,
}
response = client.chat.completions.create(
    model="gpt-6.2-sol",
    messages=[{"role": "user", "content": "Dinner with Ida on 3 May 2027"}],
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "event", "strict": True, "schema": schema},
    },
)
event = json.loads(response.choices[0].message.content)
print(event["name"], event["day"])
