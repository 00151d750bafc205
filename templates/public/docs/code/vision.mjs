import { readFileSync } from 'node:fs'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const picture = readFileSync('chart.png').toString('base64')
const response = await client.chat.completions.create({
  model: 'gemini-3.8-flash',
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What does this chart show?' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,' + picture } },
      ],
    },
  ],
})
console.log(response.choices[0].message.content)
