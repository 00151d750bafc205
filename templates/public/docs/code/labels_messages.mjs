import Anthropic from '@anthropic-ai/sdk'

const client = new Anthropic({
  apiKey: '$key',
  baseURL: '$site',
})
const message = await client.messages.create(
  {
    model: 'gpt-4o',
    max_tokens: 500,
    messages: [{ role: 'user', content: 'Hello!' }],
    metadata: { user_id: 'customer-42' },
  },
  {
    headers: {
      'x-bridge-tags': 'project=search, env=prod',
      'x-bridge-stop-at': '0.01',
    },
  },
)
console.log(message.content[0].text)

const receipt = await client.get('/v1/requests/' + message.id)
console.log(receipt.end_user, receipt.tags, receipt.stop_at)
