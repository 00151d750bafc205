import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
for await (const model of client.models.list()) {
  console.log(model.id, model.context_length, model.pricing.prompt, model.status)
}
