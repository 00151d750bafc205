import { randomUUID } from 'node:crypto'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const own = randomUUID() // one for each request that is to be paid once

const ask = () =>
  client.chat.completions
    .create(
      { model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello!' }] },
      { headers: { 'Idempotency-Key': own } },
    )
    .withResponse()

const first = await ask()
const again = await ask()
console.log(again.response.headers.get('idempotent-replayed'), again.data.id === first.data.id)
