curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","reasoning_effort":"medium",
       "messages":[{"role":"user","content":"Is 2027 prime?"}]}'
