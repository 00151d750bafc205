import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const { data: stream, response } = await client.chat.completions
  .create(
    {
      model: 'gpt-4o',
      messages: [{ role: 'user', content: 'Hello!' }],
      stream: true,
    },
    { headers: { 'x-bridge-resume': 'true' } },
  )
  .withResponse()
const requestId = response.headers.get('x-request-id')
let seen = 0
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0].delta.content ?? '')
  seen += 1 // each chunk is an event
  if (seen === 2) break // as if the connection were lost
}

const rest = await client.get('/requests/' + requestId + '/stream', {
  query: { after: seen },
  stream: true,
})
for await (const chunk of rest) {
  process.stdout.write(chunk.choices[0].delta.content ?? '')
}
