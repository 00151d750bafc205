import anthropic

client = anthropic.Anthropic(
    api_key="$key",
    base_url="$site",
)
tools = [
    {
        "name": "find_weather",
        "description": "The weather in a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
]


def find_weather(city):
    return f"4 degrees and rain in {city}"


messages = [{"role": "user", "content": "How is the weather in Oslo?"}]
choice = {"type": "any"}  # the first answer has to be a call
while True:
    message = client.messages.create(
        model="claude-sonnet-5-5",
        max_tokens=500,
        messages=messages,
        tools=tools,
        tool_choice=choice,
    )
    # thinking blocks and their signatures go back as they came
    messages.append({"role": "assistant", "content": message.content})
    if message.stop_reason != "tool_use":
        break
    results = [
        {
            "type": "tool_result",
            "tool_use_id": block.id,
            "content": find_weather(**block.input),
        }
        for block in message.content
        if block.type == "tool_use"
    ]
    messages.append({"role": "user", "content": results})
    choice = {"type": "auto"}
print(message.content[-1].text)
