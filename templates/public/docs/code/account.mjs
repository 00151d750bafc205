import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const key = await client.get('/key')
console.log(key.label, key.limits, key.budget)

const credits = await client.get('/credits')
console.log(credits.available, credits.held)
