curl $url/responses \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","input":"Hello!","store":false}'
