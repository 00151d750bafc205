import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const response = await client.chat.completions.create(
  {
    model: 'gpt-4o',
    messages: [{ role: 'user', content: 'Hello!' }],
    safety_identifier: 'customer-42',
  },
  {
    headers: {
      'x-bridge-tags': 'project=search, env=prod',
      'x-bridge-stop-at': '0.01',
    },
  },
)
console.log(response.choices[0].message.content)

const receipt = await client.get('/requests/' + response.id)
console.log(receipt.end_user, receipt.tags, receipt.stop_at)
