curl $url/messages \
  -H "x-api-key: $key" \
  -H "Content-Type: application/json" \
  -H "x-bridge-tags: project=search, env=prod" \
  -H "x-bridge-stop-at: 0.01" \
  -d '{"model":"gpt-4o","max_tokens":500,
       "metadata":{"user_id":"customer-42"},
       "messages":[{"role":"user","content":"Hello!"}]}'
