curl --retry 4 --fail-with-body $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: order-1043" \
  -d '{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'
