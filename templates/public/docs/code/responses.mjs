import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const response = await client.responses.create({
  model: 'claude-sonnet-5-5',
  input: 'Hello!',
  store: false,
})
console.log(response.output_text)
