curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gemini-3.8-flash","messages":[{"role":"user","content":[
        {"type":"text","text":"What does this chart show?"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,'$$(base64 -w0 chart.png)'"}}]}]}'
