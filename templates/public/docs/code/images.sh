curl $url/images/generations \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-image-1-mini","prompt":"A harbour at night","quality":"low"}'
