import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const schema = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    day: { type: 'string', description: 'As 2027-01-31' },
  },
  required: ['name', 'day'],
  additionalProperties: false,
}
const response = await client.chat.completions.create({
  model: 'gpt-6.2-sol',
  messages: [{ role: 'user', content: 'Dinner with Ida on 3 May 2027' }],
  response_format: {
    type: 'json_schema',
    json_schema: { name: 'event', strict: true, schema },
  },
})
const event = JSON.parse(response.choices[0].message.content)
console.log(event.name, event.day)
