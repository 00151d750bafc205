curl -N -D headers.txt $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -H "x-bridge-resume: true" \
  -d '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello!"}]}'

id=$$(grep -io 'req_[0-9a-f]*' headers.txt)
curl -N "$url/requests/$$id/stream?after=2" -H "Authorization: Bearer $key"
