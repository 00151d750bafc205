curl $url/quote \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","max_tokens":500,
       "messages":[{"role":"user","content":"Write a poem"}]}'
