import json

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
tools = [
    {
        "type": "function",
        "name": "find_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
]


def find_weather(city):
    return f"4 degrees and rain in {city}"


items = [{"role": "user", "content": "How is the weather in Oslo?"}]
choice = "required"  # the first answer has to be a call
while True:
    response = client.responses.create(
        model="gpt-4o",
        input=items,
        tools=tools,
        tool_choice=choice,
        include=["reasoning.encrypted_content"],
        store=False,
    )
    # everything goes back as it came, reasoning too
    items += response.output
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        break
    items += [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": find_weather(**json.loads(call.arguments)),
        }
        for call in calls
    ]
    choice = "auto"
print(response.output_text)
