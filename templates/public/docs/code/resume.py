import openai
from openai.types.chat import ChatCompletionChunk

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
answer = client.chat.completions.with_raw_response.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Hello!"}],
    stream=True,
    extra_headers={"x-bridge-resume": "true"},
)
request_id, seen = answer.headers["x-request-id"], 0
for chunk in answer.parse():
    print(chunk.choices[0].delta.content or "", end="")
    seen += 1  # each chunk is an event
    if seen == 2:
        break  # as if the connection were lost

rest = client.get(
    f"/requests/{request_id}/stream?after={seen}",
    cast_to=ChatCompletionChunk,
    stream=True,
    stream_cls=openai.Stream[ChatCompletionChunk],
)
for chunk in rest:
    print(chunk.choices[0].delta.content or "", end="")
