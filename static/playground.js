// The playground: a conversation in this browser tab, sent to the gateway's own API by the page's door. What a model
// writes is shown as text and never as markup.
(function () {
  'use strict'
  const root = document.getElementById('playground')
  if (!root) return
  const translate = window.translate
  const find = (where) => root.querySelector(where)
  const token = find('[name=csrf_token]').value
  const message = find('#message')
  const costs = find('[data-costs]')
  const file = find('input[type=file]')
  const sendButton = find('[data-send]')
  const stopButton = find('[data-stop]')
  const NUMBERS = { // parameter: least, most, whole
    temperature: [0, 2], top_p: [0, 1], max_tokens: [1, 1e7, true], seed: [-(2 ** 53) + 1, 2 ** 53 - 1, true]
  }
  const IMAGE = /^data:image\/(png|jpeg|webp|gif);base64,/
  const CHARACTERS_OF_A_TOKEN = 4 // about; only for what is shown while an answer comes
  const RECEIPT_WAITS_MS = [200, 400, 800, 1500, 3000, 6000] // a client's leaving is noticed within a second or two
  const QUOTE_WAIT_MS = 700
  const state = { owner: root.dataset.owner, models: [], turns: [], fields: {} }
  let images = [] // attached to the next message
  let stopper = null // while answers come
  let editing = -1
  const places = new WeakMap() // answer: where its text and its meter are shown

  function say(text) { document.getElementById('said').textContent = text }

  function el(name, attributes, ...children) {
    const made = document.createElement(name)
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith('on')) made.addEventListener(key.slice(2), value)
      else if (value !== false && value !== null) made.setAttribute(key, value)
    }
    made.append(...children)
    return made
  }

  function button(text, press, more) {
    return el('button', { type: 'button', class: 'btn btn-xs btn-bare', onclick: press, ...more }, text)
  }

  // What people chose: models and fields.

  function inputs(number) { return Array.from(picks()[number].querySelectorAll('input[type=radio]')) }
  function picks() { return Array.from(root.querySelectorAll('[data-choice]')) }
  function modelInput(model) { return inputs(0).find((input) => input.value === model) }
  function takes(model) { return (modelInput(model)?.dataset.takes || '').split(' ') }

  function drawPicks() {
    const holder = find('[data-picks]')
    while (picks().length > state.models.length) picks().pop().remove()
    while (picks().length < state.models.length) {
      const other = picks()[0].cloneNode(true)
      other.open = false
      other.querySelectorAll('input[type=radio]').forEach((input) => { input.name = 'other' })
      holder.append(other)
    }
    picks().forEach((pick, number) => {
      const input = inputs(number).find((one) => one.value === state.models[number])
      input.checked = true
      const price = input.parentElement.children[2].textContent
      pick.querySelector('[data-chosen]').textContent = input.value
      pick.querySelector('[data-price]').textContent = price
      const label = translate('Model: %(model)s, %(price)s. Change', { model: input.value, price })
      pick.querySelector('summary').setAttribute('aria-label', label)
    })
    const compares = state.models.length > 1
    root.classList.toggle('full', compares)
    find('[data-compare]').setAttribute('aria-pressed', compares)
    find('[data-settings] h2').textContent = compares ? translate('Settings for both') : translate('Settings')
    find('[data-compare] span').textContent = compares ? translate('One model') : translate('Compare')
    const taken = new Set(state.models.flatMap(takes))
    root.querySelectorAll('[data-parameter]').forEach((box) => { box.hidden = !taken.has(box.dataset.parameter) })
    root.querySelectorAll('[data-fold]').forEach((fold) => {
      const boxes = Array.from(fold.querySelectorAll('[data-parameter]'))
      fold.hidden = boxes.length > 0 && boxes.every((box) => box.hidden)
    })
    find('[data-images]').hidden = !state.models.some((model) => modelInput(model).hasAttribute('data-images'))
  }

  function explainJson(error, text) {
    const said = /position (\d+)/.exec(error.message)
    const position = said ? said[1] : /end of/.test(error.message) ? text.trimEnd().length : undefined
    const before = position === undefined ? '' : text.slice(0, Number(position))
    const line = before.split('\n').length
    const column = before.length - before.lastIndexOf('\n')
    if (position === undefined) return translate('this is not valid JSON. Nothing is sent until it is.')
    const place = { line, column }
    return translate('Line %(line)s, column %(column)s: this is not valid JSON. Nothing is sent until it is.', place)
  }

  const READ = {
    stop: (text) => text.split('\n').filter(Boolean),
    tools: (text) => {
      const tools = JSON.parse(text)
      if (Array.isArray(tools) && tools.every((tool) => tool?.type === 'function')) return tools
      throw new Error(translate('Give a list: [{"type": "function", "function": {…}}].'))
    },
    response_format: (kind) => kind === 'json_object' ? { type: kind } : { type: kind, json_schema: readSchema() },
    reasoning_effort: (text) => text
  }

  function readSchema() {
    const schema = JSON.parse(find('#schema').value || '{}')
    return schema.schema ? schema : { name: 'answer', schema }
  }

  function readNumber(name, text) {
    const [least, most, whole] = NUMBERS[name]
    const number = Number(text)
    if (Number.isNaN(number) || number < least || number > most || (whole && !Number.isInteger(number))) {
      if (!whole) throw new Error(translate('Give a number from %(least)s to %(most)s, or nothing.', { least, most }))
      if (least !== 1) throw new Error(translate('Give a whole number, or nothing.'))
      throw new Error(translate('Give a whole number above 0, or nothing.'))
    }
    return number
  }

  // The parameters, and whether all of them can be read; what is wrong is said in its place.
  function readParameters() {
    const read = {}
    let sound = true
    root.querySelectorAll('[data-parameter]').forEach((box) => {
      const name = box.dataset.parameter
      const text = find('#p-' + name).value.trim()
      let field = find('#p-' + name)
      let error = ''
      if (text && !box.hidden) {
        if (text === 'json_schema') field = find('#schema')
        try {
          read[name] = NUMBERS[name] ? readNumber(name, text) : READ[name](text)
        } catch (failure) {
          error = failure instanceof SyntaxError ? explainJson(failure, field.value) : failure.message
        }
      }
      tell(find('#p-' + name), field === find('#schema') ? '' : error)
      if (name === 'response_format') tell(find('#schema'), field === find('#schema') ? error : '')
      if (error) sound = false
    })
    find('[data-schema]').hidden = find('#p-response_format').value !== 'json_schema'
    drawSummaries(read)
    return { read, sound }
  }

  function tell(field, error) {
    const hint = document.getElementById(field.getAttribute('aria-describedby'))
    hint.textContent = error || hint.dataset.hint
    hint.className = error ? 'field-error' : 'hint'
    if (error) field.setAttribute('aria-invalid', 'true')
    else field.removeAttribute('aria-invalid')
  }

  function drawSummaries(read) {
    const changed = Object.keys(read).filter((name) => name !== 'tools' && name !== 'response_format').length
    const format = find('#p-response_format')
    const wrong = find('#p-tools').hasAttribute('aria-invalid')
    const now = {
      system: find('#system').value.trim() ? translate('1 message') : translate('none'),
      parameters: changed ? translate('%(count)s changed', { count: changed }) : translate('the model’s own'),
      tools: wrong ? translate('not valid') : read.tools ? String(read.tools.length) : translate('none'),
      format: format.selectedOptions[0].textContent.toLowerCase().replace('json', 'JSON')
    }
    for (const [name, text] of Object.entries(now)) find(`[data-fold=${name}] [data-now]`).textContent = text
  }

  // The request, as the API takes it.

  function content(turn) {
    const shown = turn.images.filter((image) => image.url)
    if (!shown.length) return turn.text
    const parts = shown.map((image) => ({ type: 'image_url', image_url: { url: image.url } }))
    return turn.text ? [...parts, { type: 'text', text: turn.text }] : parts
  }

  function writeAnswer(answer) {
    if (!answer || !(answer.text || answer.calls.length)) return []
    const said = { role: 'assistant', content: answer.text || null }
    if (!answer.calls.length) return [said]
    said.tool_calls = answer.calls.map((call) => {
      return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } }
    })
    return [said, ...answer.calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: call.result || '' }))]
  }

  function writeRequest(column, turns) {
    const system = find('#system').value.trim()
    const messages = system ? [{ role: 'system', content: system }] : []
    for (const turn of turns) {
      if (turn.role === 'user') messages.push({ role: 'user', content: content(turn) })
      else messages.push(...writeAnswer(turn.answers.length === 1 ? turn.answers[0] : turn.answers[column]))
    }
    const model = state.models[column]
    const { read } = readParameters()
    const fields = Object.fromEntries(Object.entries(read).filter(([name]) => takes(model).includes(name)))
    return { model, messages, ...fields, stream: true, stream_options: { include_usage: true } }
  }

  function draft() { return { role: 'user', text: message.value.trim(), images } }
  function hasDraft() { return message.value.trim() !== '' || images.length > 0 }
  function awaitsResults() { return (state.turns.at(-1)?.answers || []).some((answer) => answer?.calls.length) }
  function nextTurns() { return hasDraft() ? [...state.turns, draft()] : state.turns }

  function post(path, body, signal) {
    const headers = { 'content-type': 'application/json', 'x-csrftoken': token }
    return fetch(path, { method: 'POST', headers, body: JSON.stringify(body), signal, redirect: 'manual' })
  }

  // Before sending: the most that it can cost.

  let quoting = 0
  let quoteStopper = null
  function quoteSoon() {
    clearTimeout(quoting)
    quoteStopper?.abort()
    if (stopper) return
    const spent = listAnswers().reduce((sum, answer) => sum + (answer.cost || 0), 0)
    const so = spent
      ? translate('This conversation has cost %(cost)s. Ctrl or ⌘ + Enter sends.', { cost: dollars(spent) })
      : translate('Ctrl or ⌘ + Enter sends.')
    costs.textContent = hasDraft() || awaitsResults() ? '' : so
    if ((hasDraft() || awaitsResults()) && readParameters().sound) quoting = setTimeout(quote, QUOTE_WAIT_MS)
  }

  async function quote() {
    quoteStopper = new AbortController()
    const bodies = state.models.map((_, column) => writeRequest(column, nextTurns()))
    try {
      const replies = await Promise.all(bodies.map((body) => post(root.dataset.quote, body, quoteStopper.signal)))
      const quotes = await Promise.all(replies.map((reply) => reply.ok ? reply.json() : null))
      if (!stopper && !quotes.includes(null)) costs.textContent = explainQuotes(quotes)
    } catch (error) {
      if (error.name !== 'AbortError') costs.textContent = ''
    }
  }

  function explainQuotes(quotes) {
    const most = quotes.reduce((sum, one) => sum + Number(one.max_cost), 0)
    const rounded = Math.ceil(most * 1e4 - 1e-6) / 1e4 // up: it is a promise
    const amount = '$' + rounded.toFixed(4)
    const cost = quotes.length > 1 ? translate('%(amount)s for both', { amount }) : amount
    const refused = quotes.find((one) => one.refusal)
    if (!refused) return translate('Costs at most %(cost)s.', { cost })
    const [available, left] = [refused.available, refused.budget_remaining].map((one) => '$' + Number(one).toFixed(4))
    if (refused.refusal === 'insufficient_balance') {
      return translate('Costs at most %(cost)s, and %(available)s is available.', { cost, available })
    }
    if (refused.refusal === 'upstream_error') {
      return translate('Costs at most %(cost)s; no channel answers for it now.', { cost })
    }
    return translate('Costs at most %(cost)s, and the budget leaves %(left)s.', { cost, left })
  }

  // Sending, hearing, stopping.

  function newAnswer(model) {
    const unknown = { cost: null, first: null, total: null, prompt: null, out: null } // dollars, ms, tokens
    return { model, text: '', thoughts: '', calls: [], state: 'running', id: '', error: null, ...unknown }
  }

  function listAnswers() { return state.turns.flatMap((turn) => turn.answers || []).filter(Boolean) }

  function refuseToSend(text) {
    costs.textContent = text
    say(text)
  }

  function send() {
    if (stopper) return
    if (!hasDraft()) return message.focus()
    if (!readParameters().sound) {
      const wrong = find('[aria-invalid]')
      wrong.closest('details').open = true
      wrong.focus()
      return say(translate('Nothing was sent: a setting is wrong.'))
    }
    const size = JSON.stringify(writeRequest(0, nextTurns())).length
    if (size > Number(root.dataset.mostBody)) {
      return refuseToSend(translate('This conversation is too large to send. Delete an image or a turn.'))
    }
    state.turns.push(draft())
    message.value = ''
    images = []
    ask()
  }

  // Ask the models of these columns, or all of them, what comes after the conversation so far. `kept` are answers of
  // the other columns.
  async function ask(columns, kept) {
    const before = state.turns.slice()
    const turn = {
      role: 'assistant',
      answers: state.models.map((model, column) => {
        return !columns || columns.includes(column) ? newAnswer(model) : kept?.[column] || null
      })
    }
    state.turns.push(turn)
    editing = -1
    stopper = new AbortController()
    draw()
    setBusy(true)
    say(translate('Answering'))
    await Promise.all(turn.answers.map((answer, column) => {
      return answer?.state === 'running' && run(answer, writeRequest(column, before))
    }))
    stopper = null
    setBusy(false)
    draw()
    quoteSoon()
    say(turn.answers.filter(Boolean).map(summarise).join('. '))
  }

  function summarise(answer) {
    const { model } = answer
    if (answer.error) return translate('%(model)s failed: %(why)s', { model, why: answer.error.message })
    const stopped = answer.state === 'stopped'
    if (answer.cost === null) {
      return stopped ? translate('%(model)s stopped', { model }) : translate('%(model)s answered', { model })
    }
    const values = { model, cost: dollars(answer.cost) }
    return stopped ? translate('%(model)s stopped, %(cost)s', values) : translate('%(model)s answered, %(cost)s', values)
  }

  function setBusy(busy) {
    const had = [sendButton, stopButton, document.body, null].includes(document.activeElement)
    sendButton.hidden = busy
    stopButton.hidden = !busy
    if (busy) costs.textContent = translate('You pay for what has arrived when you stop')
    if (had) (busy ? stopButton : message).focus()
  }

  // Of all that the model reads, without images.
  function countCharacters(body) {
    const texts = body.messages.flatMap(({ content: said, tool_calls: calls }) => {
      const parts = Array.isArray(said) ? said.map((part) => part.text || '') : [said || '']
      return [...parts, ...(calls || []).map((call) => call.function.name + call.function.arguments)]
    })
    return [...texts, JSON.stringify(body.tools || '')].reduce((sum, text) => sum + text.length, 0)
  }

  async function run(answer, body) {
    const started = performance.now()
    const ticking = setInterval(() => { answer.total = performance.now() - started; drawMeter(answer) }, 200)
    answer.sent = countCharacters(body)
    try {
      const reply = await post(root.dataset.chat, body, stopper.signal)
      answer.id = reply.headers.get('x-request-id') || ''
      if (!reply.ok) answer.error = await readError(reply)
      else await hearAll(reply.body, (event) => hear(answer, event, started))
      answer.state = answer.error ? 'failed' : 'done'
    } catch (error) {
      answer.state = stopper.signal.aborted ? 'stopped' : 'failed'
      const broken = { status: '', code: 'unreachable', message: UNREACHABLE, asked: true }
      if (answer.state === 'failed') answer.error = broken
    }
    clearInterval(ticking)
    answer.total = performance.now() - started
    if (answer.error && !answer.error.asked) answer.id = '' // it never got a receipt
    if (answer.cost === null && answer.id) readReceipt(answer)
  }

  async function readError(reply) {
    if (reply.type === 'opaqueredirect') return { status: '', code: 'signed_out', message: SIGNED_OUT }
    const asked = Number(reply.headers.get('x-bridge-attempts') || 0) > 0
    try {
      const { error } = await reply.json()
      return { status: reply.status, code: error.code, message: error.message, asked }
    } catch (_) { // a page: the form's token is too old, or the pages are away
      return { status: reply.status, code: 'page', message: reply.status === 400 ? OLD_PAGE : NOT_ASKED, asked }
    }
  }

  async function hearAll(stream, each) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const events = (rest + value).split('\n\n')
      rest = events.pop()
      for (const event of events) {
        if (event.startsWith('data: {')) each(JSON.parse(event.slice(6)))
      }
    }
  }

  function hear(answer, event, started) {
    if (event.error) answer.error = { status: '', code: event.error.code, message: event.error.message, asked: true }
    if (event.usage) {
      answer.prompt = event.usage.prompt_tokens
      answer.out = event.usage.completion_tokens
      answer.cost = Number(event.usage.cost)
    }
    for (const { delta } of event.choices || []) {
      if (!delta) continue
      const text = (delta.content || '') + (delta.refusal || '')
      const came = text || delta.reasoning_content || delta.tool_calls
      if (answer.first === null && came) answer.first = performance.now() - started
      answer.text += text
      answer.thoughts += delta.reasoning_content || ''
      for (const piece of delta.tool_calls || []) {
        const call = answer.calls[piece.index] ||= { id: '', name: '', arguments: '', result: '' }
        call.id ||= piece.id || ''
        call.name ||= piece.function?.name || ''
        call.arguments += piece.function?.arguments || ''
      }
    }
    drawSoon(answer)
  }

  // What was charged for an answer that was not heard to its end.
  async function readReceipt(answer) {
    const path = root.dataset.receipt.replace('ID', answer.id)
    for (const wait of RECEIPT_WAITS_MS) {
      await new Promise((resolve) => setTimeout(resolve, wait))
      const reply = await fetch(path, { headers: { accept: 'application/json' } }).catch(() => null)
      if (reply?.status !== 200 || reply.redirected) continue
      const receipt = await reply.json()
      answer.cost = Number(receipt.cost)
      answer.prompt = receipt.prompt_tokens
      answer.out = receipt.completion_tokens
      drawMeter(answer)
      save()
      if (!stopper) quoteSoon()
      return
    }
  }

  // Showing it. Fences and inline code are all of Markdown that is understood; the rest is shown as it was written.

  function inline(text) {
    return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part, index) => {
      if (index % 2 === 0) return part
      return part[0] === '`' ? el('code', {}, part.slice(1, -1)) : el('b', {}, part.slice(2, -2))
    })
  }

  function prose(text) {
    return text.split(/^```.*\n?/m).flatMap((part, index) => {
      if (index % 2) {
        const code = el('code', {}, part.replace(/\n$/, ''))
        return [el('pre', { tabindex: 0, 'aria-label': translate('Code') }, code)]
      }
      return part.trim() ? part.trim().split(/\n{2,}/).map((paragraph) => el('p', {}, ...inline(paragraph))) : []
    })
  }

  function dollars(amount) { return '$' + amount.toFixed(6) }
  function count(number) { return number.toLocaleString('en-US') }
  function seconds(ms) { return (ms / 1000).toFixed(2) + ' s' }

  function fillMeter(answer, place) {
    const running = answer.state === 'running'
    const parts = []
    const out = Math.ceil((answer.text.length + answer.thoughts.length) / CHARACTERS_OF_A_TOKEN)
    const add = (text) => parts.push(el('span', {}, text))
    if (answer.prompt !== null) {
      add(translate('%(count)s in', { count: count(answer.prompt) }))
      add(translate('%(count)s out', { count: count(answer.out) }))
    } else if (running && out) add(translate('about %(count)s out so far', { count: count(out) }))
    if (answer.first !== null) add(translate('first token %(time)s', { time: seconds(answer.first) }))
    if (running) {
      const time = (answer.total / 1000).toFixed(1) + ' s'
      const waits = answer.first === null
      const what = waits ? translate('Waiting, %(time)s', { time }) : translate('Answering, %(time)s', { time })
      parts.push(el('span', { class: 'st st-ok' }, what))
    } else if (answer.total !== null) add(translate('%(time)s in all', { time: seconds(answer.total) }))
    if (answer.state === 'stopped') parts.push(el('span', { class: 'st st-off' }, translate('Stopped by you')))
    if (!running && answer.id) {
      const href = root.dataset.usage.replace('ID', answer.id)
      const label = translate('Receipt of this answer of %(model)s', { model: answer.model })
      parts.push(el('a', { href, 'aria-label': label }, translate('Receipt')))
    }
    if (answer.cost !== null) {
      const title = translate('exactly %(amount)s', { amount: '$' + answer.cost.toFixed(9) })
      parts.push(el('b', { title }, dollars(answer.cost)))
    } else if (running) {
      parts.push(el('b', {}, translate('about %(amount)s', { amount: dollars(guess(answer, out)) })))
    } else if (answer.id) add(translate('being settled'))
    else if (answer.error) parts.push(el('b', {}, dollars(0)))
    place.replaceChildren(...parts)
  }

  // What an answer costs that still comes, about. Until the model writes nothing is known.
  function guess(answer, out) {
    const price = modelInput(answer.model)?.dataset
    if (answer.first === null || !price) return 0
    const nanosPerMtok = answer.sent / CHARACTERS_OF_A_TOKEN * Number(price.in) + out * Number(price.out)
    return nanosPerMtok / 1e15
  }

  function drawMeter(answer) {
    const place = places.get(answer)
    if (place) fillMeter(answer, place.meter)
  }

  function fillAnswer(answer, place) {
    const parts = prose(answer.text)
    if (answer.state === 'running') {
      if (parts.at(-1)?.tagName !== 'P') parts.push(el('p'))
      parts.at(-1).append(el('span', { class: 'caret', 'aria-hidden': 'true' }))
    }
    if (answer.thoughts) {
      const summary = el('summary', { class: 'small ink3' }, translate('Reasoning'))
      const details = el('details', {}, summary, el('p', { class: 'ink2 small' }, answer.thoughts))
      details.open = place.firstElementChild?.open || false
      parts.unshift(details)
    }
    place.replaceChildren(...parts)
  }

  const due = new Set()
  function drawSoon(answer) {
    if (!due.size) requestAnimationFrame(() => {
      due.forEach((one) => {
        const place = places.get(one)
        if (place) fillAnswer(one, place.text)
        drawMeter(one)
      })
      due.clear()
    })
    due.add(answer)
  }

  const UNREACHABLE = translate('The gateway can’t be reached from here, or the connection broke.')
  const SIGNED_OUT = translate('Your session has ended. Sign in again in another tab, then try again.')
  const OLD_PAGE = translate('This page is too old. Reload it; the conversation stays.')
  const NOT_ASKED = translate('The page could not ask the gateway. Nothing was sent.')
  const TITLES = {
    insufficient_balance: translate('not enough credit'),
    key_budget_exceeded: translate('the playground’s budget is spent'),
    spend_limit_exceeded: translate('the account’s daily limit is reached'),
    playground_key_off: translate('the playground’s key is off'),
    upstream_error: translate('no channel answered'),
    rate_limit_exceeded: translate('too many requests'),
    signed_out: translate('Signed out'),
    unreachable: translate('No answer'),
    page: translate('not sent')
  }
  const QUIET = { class: 'btn btn-xs btn-quiet' }

  function drawError(answer, number, column) {
    const { status, code, message: why, asked } = answer.error
    const warns = ['insufficient_balance', 'key_budget_exceeded', 'playground_key_off'].includes(code)
    const title = TITLES[code] || (code ? code.replaceAll('_', ' ') : translate('refused'))
    const free = (answer.cost === 0 || !asked) && why !== NOT_ASKED && !/charged|nothing was sent/i.test(why)
    const said = ' ' + why + (free ? ' ' + translate('You were not charged.') : '')
    const head = status ? translate('%(status)s: %(title)s.', { status, title }) : translate('%(title)s.', { title })
    const text = el('p', {}, el('b', {}, head), said)
    const actions = el('span', { class: 'bar' }, ...listActions(code, why, () => retry(number, column)))
    return el('div', { class: 'note note-' + (warns ? 'warn' : 'bad') }, text, actions)
  }

  // What can be done about a refusal.
  function listActions(code, why, again) {
    const link = (href, text) => el('a', { ...QUIET, href }, text)
    if (code === 'key_budget_exceeded') return [link(root.dataset.key, translate('Change its budget'))]
    if (code === 'playground_key_off') return [link(location.pathname, translate('See what to do'))]
    if (code !== 'insufficient_balance') return [button(translate('Try again'), again, QUIET)]
    const most = /max_tokens of at most ([\d,]+)/.exec(why)?.[1]
    const pay = link(root.dataset.billing, translate('Add credit'))
    if (!most) return [pay]
    const lower = () => {
      find('#p-max_tokens').value = most.replaceAll(',', '')
      again()
    }
    return [pay, button(translate('Limit the answer to %(most)s tokens', { most }), lower, QUIET)]
  }

  function drawCalls(answer, number, column) {
    if (!answer.calls.length) return []
    const isLast = number === state.turns.length - 1 && answer.state !== 'running'
    const boxes = answer.calls.map((call, index) => {
      const code = el('code', {}, `${call.name}(${call.arguments})`)
      const shown = el('pre', { tabindex: 0, 'aria-label': translate('Call of %(name)s', { name: call.name }) }, code)
      if (isLast) return el('div', {}, shown, ...drawResult(call, `result-${number}-${column}-${index}`))
      const result = translate('Result: %(result)s', { result: call.result })
      return el('div', {}, shown, call.result ? el('p', { class: 'small ink2' }, result) : '')
    })
    const text = answer.calls.length > 1 ? translate('Send results') : translate('Send result')
    if (isLast) boxes.push(el('div', { class: 'bar' }, button(text, sendResults, { class: 'btn btn-quiet' })))
    return boxes
  }

  function drawResult(call, id) {
    const field = el('textarea', { id, class: 'form-control mono', rows: 2 })
    field.value = call.result
    field.addEventListener('input', () => {
      call.result = field.value
      save()
      quoteSoon()
    })
    const label = translate('Result of %(name)s', { name: call.name })
    return [el('label', { class: 'form-label', for: id }, label), field]
  }

  // Go on with what was typed as results, in the columns where there are calls.
  function sendResults() {
    if (stopper) return
    const { answers } = state.turns.at(-1)
    if (answers.length === 1) return ask()
    ask(state.models.flatMap((_, column) => answers[column]?.calls.length ? [column] : []))
  }

  function drawAnswer(answer, number, column) {
    const text = el('div')
    const meter = el('div', { class: 'meter' })
    places.set(answer, { text, meter })
    fillAnswer(answer, text)
    fillMeter(answer, meter)
    const box = el('div', {}, text, ...drawCalls(answer, number, column))
    if (answer.error) box.append(drawError(answer, number, column))
    box.append(meter)
    if (!stopper) {
      const { model } = answer
      const more = { 'aria-label': translate('Retry: ask %(model)s again', { model }) }
      const away = { 'aria-label': translate('Delete this answer of %(model)s', { model }) }
      const again = button(translate('Retry'), () => retry(number, column), more)
      box.append(el('div', { class: 'bar' }, again, button(translate('Delete'), () => remove(number, column), away)))
    }
    return el('article', { class: 'turn' }, el('h2', {}, answer.model), box)
  }

  function drawImage(image) {
    if (IMAGE.test(image.url)) return el('img', { class: 'shot', src: image.url, alt: image.name })
    const lost = translate('%(name)s was too large to be kept when the page was reloaded.', { name: image.name })
    return el('p', { class: 'small ink3' }, lost)
  }

  function drawUser(turn, number) {
    const box = el('div', {}, ...turn.images.map(drawImage))
    if (editing === number) box.append(...drawEditor(turn, number))
    else if (turn.text) box.append(...prose(turn.text))
    if (editing !== number && !stopper) {
      const change = button(translate('Edit'), () => edit(number), { 'aria-label': translate('Edit this message') })
      const away = button(translate('Delete'), () => remove(number), { 'aria-label': translate('Delete this message') })
      box.append(el('div', { class: 'bar' }, change, away))
    }
    return el('article', { class: 'turn' }, el('h2', {}, translate('You')), box)
  }

  function drawEditor(turn, number) {
    const field = el('textarea', { class: 'form-control', rows: 4, 'aria-label': translate('Change this message') })
    const keep = () => { turn.text = field.value.trim() }
    const again = () => {
      keep()
      retry(number + 1)
    }
    const save = () => {
      keep()
      edit(-1)
    }
    field.value = turn.text
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) again()
    })
    const first = button(translate('Ask again'), again, QUIET)
    const others = [button(translate('Save'), save), button(translate('Cancel'), () => edit(-1))]
    return [field, el('div', { class: 'bar' }, first, ...others)]
  }

  function draw() {
    const shown = state.turns.map((turn, number) => {
      if (turn.role === 'user') return drawUser(turn, number)
      const answers = turn.answers.map((answer, column) => answer ? drawAnswer(answer, number, column) : '')
      if (answers.length === 1) return answers[0]
      return el('div', { class: 'versus' }, ...answers.map((one) => el('div', {}, one)))
    })
    find('[data-turns]').replaceChildren(...shown)
    find('[data-empty]').hidden = state.turns.length > 0
    const first = state.turns.length ? translate('Next message') : translate('Ask something')
    message.placeholder = state.models.length > 1 ? translate('Ask both') : first
    drawDifference()
    drawAttached()
    save()
  }

  function drawDifference() {
    const line = find('[data-difference]')
    const last = state.turns.at(-1)?.answers || []
    const answers = last.filter((answer) => answer?.state === 'done' && answer.cost !== null)
    line.hidden = answers.length < 2
    if (line.hidden) return
    const [low, high] = answers.slice().sort((one, other) => one.cost - other.cost)
    const share = high.cost ? (100 * low.cost / high.cost).toFixed(1) : '100.0'
    const values = { share: share + '%', low: seconds(low.total), high: seconds(high.total) }
    const [before, after] = compare(share === '100.0', low.total <= high.total, values).split('%(model)s')
    line.children[0].replaceChildren(before, el('b', { class: 'fw-medium' }, low.model), after)
    const sums = { sum: dollars(low.cost + high.cost), difference: dollars(high.cost - low.cost) }
    line.children[1].textContent = translate('Both: %(sum)s, difference %(difference)s', sums)
  }

  // The sentence about the cheaper answer, with a hole for its model.
  function compare(isSame, isFaster, values) {
    if (isSame && isFaster) return translate('%(model)s cost as much and finished in %(low)s instead of %(high)s', values)
    if (isSame) return translate('%(model)s cost as much and took %(low)s instead of %(high)s', values)
    return isFaster
      ? translate('%(model)s cost %(share)s as much and finished in %(low)s instead of %(high)s', values)
      : translate('%(model)s cost %(share)s as much and took %(low)s instead of %(high)s', values)
  }

  function drawAttached() {
    const box = find('[data-attached]')
    box.hidden = !images.length
    box.replaceChildren(...images.map((image, index) => {
      const away = () => {
        images.splice(index, 1)
        drawAttached()
        quoteSoon()
        message.focus()
      }
      const label = translate('Remove %(name)s', { name: image.name })
      const remove = button(translate('Remove'), away, { 'aria-label': label })
      return el('span', { class: 'thumb' }, el('img', { src: image.url, alt: '' }), image.name, remove)
    }))
  }

  function edit(number) {
    editing = number
    draw()
    if (number >= 0) find('[data-turns] textarea[aria-label]').focus()
    else message.focus()
    quoteSoon()
  }

  // Ask again from this turn on, of two answers for one alone: what came after it is forgotten.
  function retry(number, column) {
    if (stopper || !readParameters().sound) return
    const { answers } = state.turns[number] || {}
    state.turns.length = number
    if (answers?.length > 1 && column < state.models.length) ask([column], answers)
    else ask()
  }

  function remove(number, column) {
    const { answers } = state.turns[number]
    if (answers?.length > 1) answers[column] = null
    if (!answers?.[1 - column]) state.turns.splice(number, 1)
    draw()
    quoteSoon()
    message.focus()
  }

  // Images: chosen, pasted or dropped.

  function attach(files) {
    for (const one of files) {
      const most = Number(root.dataset.mostImage)
      if (!/^image\/(png|jpeg|webp|gif)$/.test(one.type)) {
        refuseToSend(translate('%(name)s is no PNG, JPEG, WebP or GIF.', { name: one.name }))
      } else if (one.size > most) {
        refuseToSend(translate('%(name)s is larger than %(most)s MiB.', { name: one.name, most: most / 2 ** 20 }))
      } else {
        const reader = new FileReader()
        reader.addEventListener('load', () => {
          images.push({ name: one.name || translate('pasted image'), url: reader.result })
          drawAttached()
          quoteSoon()
        })
        reader.readAsDataURL(one)
      }
    }
  }

  // As code.

  function python(value, indent) {
    if (value === null) return 'None'
    if (typeof value === 'boolean') return value ? 'True' : 'False'
    if (typeof value !== 'object') return JSON.stringify(value)
    const inner = indent + '    '
    const isList = Array.isArray(value)
    const rows = isList
      ? value.map((one) => inner + python(one, inner))
      : Object.entries(value).map(([key, one]) => `${inner}${JSON.stringify(key)}: ${python(one, inner)}`)
    const [open, close] = isList ? '[]' : '{}'
    return rows.length ? `${open}\n${rows.join(',\n')},\n${indent}${close}` : open + close
  }

  const CODE = [
    (request, url) => `import os

import openai

client = openai.OpenAI(
    api_key=os.environ["OPENAI_API_KEY"],
    base_url=${JSON.stringify(url)},
)
stream = client.chat.completions.create(
${Object.entries(request).map(([key, value]) => `    ${key}=${python(value, '    ')},`).join('\n')}
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="")
`,
    (request, url) => `import OpenAI from 'openai'

const client = new OpenAI({
  apiKey: process.env.OPENAI_API_KEY,
  baseURL: ${JSON.stringify(url)},
})
const stream = await client.chat.completions.create(${JSON.stringify(request, null, 2)})
for await (const chunk of stream) {
  for (const choice of chunk.choices) process.stdout.write(choice.delta.content ?? '')
}
`,
    (request, url) => `curl ${url}/chat/completions -N \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  --data-binary @- <<'JSON'
${JSON.stringify(request, null, 2)}
JSON
`
  ]

  // The next request; where nothing is typed, the last one that was answered.
  function drawCode() {
    const last = state.turns.findLastIndex((turn) => turn.role === 'assistant')
    const turns = hasDraft() || last < 0 ? nextTurns() : state.turns.slice(0, last)
    const request = writeRequest(0, turns)
    document.querySelectorAll('#as-code pre code').forEach((place, index) => {
      place.textContent = CODE[index](request, root.dataset.baseUrl)
    })
  }

  // The tab keeps the conversation; the server never does.

  function fieldsKept() {
    const all = Array.from(root.querySelectorAll('textarea[id],select[id],input[id]'))
    return all.filter((field) => !field.closest('[data-turns]'))
  }

  function save() {
    state.fields = Object.fromEntries(fieldsKept().map((field) => [field.id, field.value]))
    const write = (keepImages) => {
      const text = JSON.stringify(state, (key, value) => key === 'url' && !keepImages ? '' : value)
      try {
        sessionStorage.setItem('playground', text)
        return true
      } catch (_) { // too large for the browser, or it keeps nothing
        return false
      }
    }
    if (!write(true)) write(false)
  }

  function restore() {
    state.models = [inputs(0).find((input) => input.checked)?.value || inputs(0)[0].value]
    let kept = null
    try { kept = JSON.parse(sessionStorage.getItem('playground')) } catch (_) { /* what is no JSON is not ours */ }
    if (!kept || kept.owner !== state.owner) return
    state.turns = kept.turns
    if (kept.models.every(modelInput) && !('asked' in root.dataset)) state.models = kept.models
    fieldsKept().forEach((field) => { if (field.id in kept.fields) field.value = kept.fields[field.id] })
    for (const answer of listAnswers().filter((one) => one.state === 'running')) { // left by a reload
      answer.state = 'stopped'
      if (answer.id) readReceipt(answer)
    }
  }

  root.addEventListener('change', (event) => {
    const pick = event.target.closest('[data-choice]')
    if (!pick || event.target.type !== 'radio') return
    state.models[picks().indexOf(pick)] = event.target.value
    drawPicks()
    save()
    quoteSoon()
  })
  root.addEventListener('input', (event) => {
    if (event.target.closest('[data-choice],[data-turns]')) return
    readParameters()
    save()
    quoteSoon()
  })
  root.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return
    const pick = event.target.closest('[data-choice]')
    if (pick && ['radio', 'search'].includes(event.target.type)) { // chosen by the arrows, or the first that is found
      event.preventDefault()
      if (event.target.type === 'search') pick.querySelector('.list label:not([hidden]) input')?.click()
      pick.open = false
      pick.querySelector('summary').focus()
    } else if ((event.ctrlKey || event.metaKey) && !event.target.closest('[data-turns]')) {
      event.preventDefault()
      send()
    }
  })
  addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return
    const open = find('[data-choice][open]')
    if (open) {
      open.open = false
      open.querySelector('summary').focus()
    } else if (stopper && !document.querySelector('#as-code:popover-open')) stopper.abort()
  })
  root.addEventListener('toggle', (event) => { // which does not bubble
    if (!event.target.matches('[data-choice]') || !event.target.open) return
    event.target.querySelector(':checked').parentElement.scrollIntoView({ block: 'nearest' })
    event.target.querySelector('[type=search]').focus()
  }, true)
  addEventListener('click', (event) => {
    picks().forEach((pick) => {
      const chose = event.target.closest('label') && event.detail > 0 // by a pointer, not by the arrows
      if (pick.open && (!pick.contains(event.target) || chose)) pick.open = false
    })
  })
  find('[data-compose]').addEventListener('submit', (event) => { event.preventDefault(); send() })
  stopButton.addEventListener('click', () => stopper?.abort())
  find('[data-images]').addEventListener('click', () => file.click())
  file.addEventListener('change', () => { attach(file.files); file.value = '' })
  message.addEventListener('paste', (event) => {
    if (!event.clipboardData.files.length || find('[data-images]').hidden) return
    event.preventDefault()
    attach(event.clipboardData.files)
  })
  const compose = find('[data-compose]')
  compose.addEventListener('dragover', (event) => { event.preventDefault(); compose.classList.add('drop') })
  compose.addEventListener('dragleave', () => compose.classList.remove('drop'))
  compose.addEventListener('drop', (event) => {
    event.preventDefault()
    compose.classList.remove('drop')
    if (!find('[data-images]').hidden) attach(event.dataTransfer.files)
  })
  find('[data-compare]').addEventListener('click', () => {
    if (stopper) return
    if (state.models.length > 1) state.models.length = 1
    else state.models.push((inputs(0).find((input) => input.value !== state.models[0]) || inputs(0)[0]).value)
    drawPicks()
    draw()
    quoteSoon()
  })
  find('[data-new]').addEventListener('click', () => {
    stopper?.abort()
    state.turns = []
    images = []
    message.value = ''
    draw()
    drawPicks()
    quoteSoon()
    message.focus()
  })
  root.querySelectorAll('[data-example]').forEach((example) => example.addEventListener('click', () => {
    message.value = example.dataset.example
    message.focus()
    quoteSoon()
  }))
  document.getElementById('as-code').addEventListener('beforetoggle', drawCode)

  restore()
  drawPicks()
  readParameters()
  draw()
  quoteSoon()
})()
