import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: '$key',
  baseURL: '$url',
})
const response = await client.chat.completions.create(
  {
    model: 'deepseek-flash',
    messages: [{ role: 'user', content: 'Hello!' }],
  },
  { headers: { 'x-bridge-max-cost': '0.05' } },
)
console.log(response.usage.cost)

const receipt = await client.get('/requests/' + response.id)
console.log(receipt.charge, receipt.hold, receipt.balance_after)
for (const line of receipt.price.lines) {
  console.log(line.class, line.count, line.amount)
}
