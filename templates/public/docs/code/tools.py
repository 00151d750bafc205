import json

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
tools = [
    {
        "type": "function",
        "function": {
            "name": "find_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def find_weather(city):
    return f"4 degrees and rain in {city}"


messages = [{"role": "user", "content": "How is the weather in Oslo?"}]
choice = "required"  # the first answer has to be a call
while True:
    response = client.chat.completions.create(
        model="gpt-6.2-sol",
        messages=messages,
        tools=tools,
        tool_choice=choice,
    )
    message = response.choices[0].message
    messages.append(message)  # as it came
    if not message.tool_calls:
        break
    for call in message.tool_calls:
        arguments = json.loads(call.function.arguments)
        result = find_weather(**arguments)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    choice = "auto"
print(message.content)
