import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const response = await client.chat.completions.create({
  model: 'claude-sonnet-5-5',
  messages: [{ role: 'user', content: 'Is 2027 prime?' }],
  reasoning_effort: 'medium',
})
const message = response.choices[0].message
console.log(message.reasoning_content)
console.log(message.content)
