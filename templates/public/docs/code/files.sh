curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"claude-sonnet-5-5","messages":[{"role":"user","content":[
        {"type":"text","text":"When is this invoice due?"},
        {"type":"file","file":{"filename":"invoice.pdf",
         "file_data":"data:application/pdf;base64,'$$(base64 -w0 invoice.pdf)'"}}]}]}'
