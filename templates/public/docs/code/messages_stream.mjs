import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  apiKey: '$key',
  baseURL: '$site',
})
const stream = client.messages.stream({
  model: 'gpt-4o',
  max_tokens: 500,
  messages: [{ role: 'user', content: 'Write a poem' }],
})
stream.on('text', (text) => process.stdout.write(text))
const message = await stream.finalMessage()
console.log('\n' + message.stop_reason, message.usage.output_tokens)
