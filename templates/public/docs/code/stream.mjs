import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const stream = await client.chat.completions.create({
  model: 'claude-sonnet-5-5',
  messages: [{ role: 'user', content: 'Write a poem' }],
  stream: true,
  stream_options: { include_usage: true },
})
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? '')
  if (chunk.usage) {
    console.log('\n' + chunk.usage.completion_tokens + ' tokens, ' + chunk.usage.cost + ' dollars')
  }
}
