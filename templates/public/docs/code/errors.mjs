import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
try {
  await client.chat.completions.create({
    model: 'no-such-model',
    messages: [{ role: 'user', content: 'Hello!' }],
  })
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error
  console.log(error.status, error.code, error.param)
  console.log(error.message)
  console.log(error.requestID)
}
