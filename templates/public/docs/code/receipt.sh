curl -s -D headers.txt -o answer.json $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -H "x-bridge-max-cost: 0.05" \
  -d '{"model":"deepseek-flash","messages":[{"role":"user","content":"Hello!"}]}'

id=$$(grep -io 'req_[0-9a-f]*' headers.txt)
curl "$url/requests/$$id" -H "Authorization: Bearer $key"
