curl $url/chat/completions \
  -H "Authorization: Bearer $key" \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-6.2-sol","tool_choice":"required",
       "tools":[{"type":"function","function":{"name":"find_weather",
         "description":"The weather in a city.",
         "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],
       "messages":[{"role":"user","content":"How is the weather in Oslo?"}]}'
