curl $url/messages \
  -H "x-api-key: $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-4o","max_tokens":500,
       "messages":[{"role":"user","content":"Hello!"}]}'
