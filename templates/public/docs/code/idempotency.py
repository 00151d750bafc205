import uuid

import openai

client = openai.OpenAI(
    api_key="$key",
    base_url="$url",
)
own = str(uuid.uuid4())  # one for each request that is to be paid once


def ask():
    return client.chat.completions.with_raw_response.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hello!"}],
        extra_headers={"Idempotency-Key": own},
    )


first, again = ask(), ask()
assert again.parse().id == first.parse().id
print(again.headers["idempotent-replayed"], again.parse().choices[0].message.content)
