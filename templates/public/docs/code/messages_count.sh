curl $url/messages/count_tokens \
  -H "x-api-key: $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'
