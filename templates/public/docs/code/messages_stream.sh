curl -N $url/messages \
  -H "x-api-key: $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-4o","max_tokens":500,"stream":true,
       "messages":[{"role":"user","content":"Write a poem"}]}'
