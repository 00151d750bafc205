import time
import uuid

import requests

headers = {
    "Authorization": "Bearer $key",
    "Idempotency-Key": str(uuid.uuid4()),  # so that it is paid once
}
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
for attempt in range(5):
    answer = requests.post("$url/chat/completions", json=body, headers=headers, timeout=600)
    if answer.ok or answer.headers.get("x-should-retry") == "false":
        break
    time.sleep(float(answer.headers.get("retry-after", 2**attempt)))
answer.raise_for_status()
print(answer.json()["choices"][0]["message"]["content"])
