import { readFileSync } from 'node:fs'
import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const pages = readFileSync('invoice.pdf').toString('base64')
const response = await client.chat.completions.create({
  model: 'claude-sonnet-5-5',
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'When is this invoice due?' },
        {
          type: 'file',
          file: { filename: 'invoice.pdf', file_data: 'data:application/pdf;base64,' + pages },
        },
      ],
    },
  ],
})
console.log(response.choices[0].message.content)
