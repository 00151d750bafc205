import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const answer = await client.embeddings.create({
  model: 'text-embedding-3-small',
  input: ['A harbour at night', 'A quiet street'],
})
for (const item of answer.data) {
  console.log(item.index, item.embedding.length, item.embedding.slice(0, 3))
}
