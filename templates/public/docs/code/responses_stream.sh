curl -N $url/responses \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","input":"Write a poem",
       "stream":true,"store":false}'
