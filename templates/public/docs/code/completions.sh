curl $url/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"deepseek-flash","prompt":"def fib(n):","suffix":"return fib(n - 1) + fib(n - 2)","max_tokens":64}'
