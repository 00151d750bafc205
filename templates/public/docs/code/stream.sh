curl -N $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","stream":true,
       "stream_options":{"include_usage":true},
       "messages":[{"role":"user","content":"Write a poem"}]}'
