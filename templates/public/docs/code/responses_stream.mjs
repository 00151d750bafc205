import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const stream = await client.responses.create({
  model: 'claude-sonnet-5-5',
  input: 'Write a poem',
  stream: true,
  store: false,
})
for await (const event of stream) {
  if (event.type === 'response.output_text.delta') {
    process.stdout.write(event.delta)
  } else if (event.type === 'response.completed') {
    console.log('\n' + event.response.usage.output_tokens + ' tokens')
  } else if (event.type === 'response.failed') {
    console.log('\n' + event.response.error.message)
  }
}
