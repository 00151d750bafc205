import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const response = await client.chat.completions.create({
  model: 'claude-sonnet-5-5',
  messages: [{ role: 'user', content: 'Hello!' }],
  models: ['gpt-6.2-sol', 'gemini-3.8-flash'],
})
console.log(response.model, response.choices[0].message.content)
