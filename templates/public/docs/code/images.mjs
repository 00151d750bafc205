import { writeFileSync } from 'node:fs'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const answer = await client.images.generate({
  model: 'gpt-image-1-mini',
  prompt: 'A harbour at night',
  quality: 'low',
})
writeFileSync('harbour.png', Buffer.from(answer.data[0].b64_json, 'base64'))
console.log(answer.size, answer.usage.output_tokens, answer.usage.cost)
