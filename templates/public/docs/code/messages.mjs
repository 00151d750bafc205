import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  apiKey: '$key',
  baseURL: '$site',
})
const message = await client.messages.create({
  model: 'gpt-4o',
  max_tokens: 500,
  messages: [{ role: 'user', content: 'Hello!' }],
})
console.log(message.content[0].text)
