import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  apiKey: '$key',
  baseURL: '$site',
})
const count = await client.messages.countTokens({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello!' }],
})
console.log(count.input_tokens)
