curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-6.2-sol",
       "messages":[{"role":"user","content":"Dinner with Ida on 3 May 2027"}],
       "response_format":{"type":"json_schema","json_schema":{"name":"event","strict":true,
         "schema":{"type":"object","additionalProperties":false,"required":["name","day"],
           "properties":{"name":{"type":"string"},"day":{"type":"string"}}}}}}'
