const headers = {
  Authorization: 'Bearer $key',
  'Content-Type': 'application/json',
  'Idempotency-Key': crypto.randomUUID(), // so that it is paid once
}
const body = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'Hello!' }] })
let answer
for (let attempt = 0; attempt < 5; attempt++) {
  answer = await fetch('$url/chat/completions', { method: 'POST', headers, body })
  if (answer.ok || answer.headers.get('x-should-retry') === 'false') break
  const seconds = Number(answer.headers.get('retry-after') ?? 2 ** attempt)
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
}
if (!answer.ok) throw new Error(await answer.text())
console.log((await answer.json()).choices[0].message.content)
