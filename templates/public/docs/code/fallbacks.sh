curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","models":["gpt-6.2-sol","gemini-3.8-flash"],
       "messages":[{"role":"user","content":"Hello!"}]}'
