import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
try:
    client.chat.completions.create(
        model="no-such-model",
        messages=[{"role": "user", "content": "Hello!"}],
    )
except openai.APIStatusError as error:
    print(error.status_code, error.code, error.param)
    print(error.message)
    print(error.request_id)
