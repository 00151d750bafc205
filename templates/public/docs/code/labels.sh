curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -H "x-bridge-tags: project=search, env=prod" \
  -H "x-bridge-stop-at: 0.01" \
  -d '{"model":"gpt-4o","safety_identifier":"customer-42",
       "messages":[{"role":"user","content":"Hello!"}]}'
