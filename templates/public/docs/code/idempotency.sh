curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: order-1042" \
  -d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'
