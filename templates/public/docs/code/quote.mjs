import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const quote = await client.post('/quote', {
  body: {
    model: 'claude-sonnet-5-5',
    messages: [{ role: 'user', content: 'Write a poem' }],
    max_tokens: 500,
  },
})
console.log(quote.max_cost, quote.available, quote.refusal)
