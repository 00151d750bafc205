import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const answer = await client.completions.create({
  model: 'deepseek-flash',
  prompt: 'def fib(n):\n    ',
  suffix: '\n    return fib(n - 1) + fib(n - 2)',
  max_tokens: 64,
})
console.log(answer.choices[0].text)
