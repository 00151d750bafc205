curl $url/embeddings \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"text-embedding-3-small","input":["A harbour at night","A quiet street"]}'
