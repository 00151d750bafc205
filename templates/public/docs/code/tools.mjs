import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const tools = [
  {
    type: 'function',
    function: {
      name: 'find_weather',
      description: 'The weather in a city.',
      parameters: {
        type: 'object',
        properties: { city: { type: 'string' } },
        required: ['city'],
      },
    },
  },
]
const findWeather = ({ city }) => '4 degrees and rain in ' + city

const messages = [{ role: 'user', content: 'How is the weather in Oslo?' }]
let choice = 'required' // the first answer has to be a call
let message
for (;;) {
  const response = await client.chat.completions.create({
    model: 'gpt-6.2-sol',
    messages,
    tools,
    tool_choice: choice,
  })
  message = response.choices[0].message
  messages.push(message) // as it came
  if (!message.tool_calls?.length) break
  for (const call of message.tool_calls) {
    const result = findWeather(JSON.parse(call.function.arguments))
    messages.push({ role: 'tool', tool_call_id: call.id, content: result })
  }
  choice = 'auto'
}
console.log(message.content)
