// Texts of scripts, theme, copy, the remembered tab of code, local times, "/" to search, Esc to close, no double sending,
// filters while typing, and waiting for a first call. Every page works without it.
(function () {
  'use strict'
  var root = document.documentElement
  var dark = matchMedia('(prefers-color-scheme: dark)')
  var month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

  // What scripts say, in the page's language: pages in others than English bring the texts in blocks of JSON. `values`
  // fill the text's %(name)s; those that aren't given stay.
  var texts = {}
  document.querySelectorAll('script[data-texts]').forEach(function (block) {
    Object.assign(texts, JSON.parse(block.textContent))
  })
  function translate(text, values) {
    return (texts[text] || text).replace(/%\((\w+)\)s/g, function (hole, name) {
      return values && name in values ? values[name] : hole
    })
  }
  window.translate = translate

  function say(text) {
    var place = document.getElementById('said')
    if (place) place.textContent = text
  }

  // Theme: from automatic to the other one, to its opposite, back to automatic. The server reads the cookie.
  function nextTheme() {
    var opposite = dark.matches ? 'light' : 'dark'
    var now = root.dataset.bsTheme || 'auto'
    if (now === 'auto') return opposite
    return now === opposite ? (dark.matches ? 'dark' : 'light') : 'auto'
  }

  function setTheme(theme, cookie) {
    if (theme === 'auto') delete root.dataset.bsTheme
    else root.dataset.bsTheme = theme
    document.cookie = cookie + '=' + theme + ';path=/;max-age=31536000;samesite=lax' +
      (location.protocol === 'https:' ? ';secure' : '')
    var name = { auto: translate('automatic'), light: translate('light'), dark: translate('dark') }[theme]
    document.querySelectorAll('[data-theme]').forEach(function (button) {
      button.setAttribute('aria-label', translate('Theme: %(name)s. Change', { name: name }))
    })
    say(translate('Theme: %(name)s', { name: name }))
  }

  // Copy: the text given, or the code of the tab that is visible.
  function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text)
    return new Promise(function (resolve, reject) { // plain http elsewhere than on loopback has no clipboard
      var area = document.createElement('textarea')
      area.value = text
      document.body.append(area)
      area.select()
      var done = document.execCommand('copy')
      area.remove()
      if (done) resolve()
      else reject(new Error('copy refused'))
    })
  }

  function copy(button) {
    var box = button.closest('.code')
    var pre = box && Array.from(box.querySelectorAll('pre')).find(function (one) { return one.offsetParent })
    var label = button.querySelector('[data-label]')
    var text = button.dataset.copy || (pre ? pre.textContent : '')
    copyText(text).then(function () {
      say(translate('Copied'))
      var icon = button.querySelector('path')
      var before = { label: label && label.textContent, icon: icon.getAttribute('d') }
      if (button.dataset.done) return
      button.dataset.done = '1'
      icon.setAttribute('d', 'M5 12l5 5 9-10')
      if (label) label.textContent = translate('Copied')
      setTimeout(function () {
        delete button.dataset.done
        icon.setAttribute('d', before.icon)
        if (label) label.textContent = before.label
        say('')
      }, 2000)
    }, function () { say(translate('Copying was refused. Select the text and copy it by hand.')) })
  }

  addEventListener('click', function (event) {
    var button = event.target.closest('[data-copy],[data-theme],[data-print]')
    if (!button) return
    if (button.dataset.print !== undefined) return print()
    if (button.dataset.copy !== undefined) return copy(button)
    event.preventDefault()
    setTheme(nextTheme(), button.dataset.theme)
  })

  // Times come in UTC and are shown in the reader's zone; the title keeps UTC.
  function two(number) { return String(number).padStart(2, '0') }
  var english = root.lang === 'en'
  var dayForm = new Intl.DateTimeFormat(root.lang, { dateStyle: 'long' })
  var shortForm = new Intl.DateTimeFormat(root.lang, { month: 'long', day: 'numeric' })
  function writeDay(at) {
    return english ? at.getDate() + ' ' + month[at.getMonth()] + ' ' + at.getFullYear() : dayForm.format(at)
  }
  function writeShortDay(at) {
    return english ? at.getDate() + ' ' + month[at.getMonth()] : shortForm.format(at)
  }
  function localTime(element) {
    var at = new Date(element.dateTime)
    var now = new Date()
    var seconds = (now - at) / 1000
    var day = writeDay(at)
    var today = at.toDateString() === now.toDateString()
    var minute = two(at.getHours()) + ':' + two(at.getMinutes())
    var clock = minute + ':' + two(at.getSeconds())
    var form = element.dataset.time
    function join(day, time) { return translate('%(day)s, %(time)s', { day: day, time: time }) }
    if (form === 'day') element.textContent = day
    else if (form === 'clock') element.textContent = today ? clock : join(writeShortDay(at), clock)
    else if (form === 'ago') {
      if (seconds < 60) element.textContent = translate('just now')
      else if (seconds < 3600) element.textContent = translate('%(minutes)s min ago', { minutes: Math.floor(seconds / 60) })
      else element.textContent = today ? join(translate('Today'), minute) : day
    } else element.textContent = join(today ? translate('Today') : day, clock)
  }
  function localTimes(within) { within.querySelectorAll('time[data-time]').forEach(localTime) }

  // data-poll="url": ask until the server has something to show (200), then show it in place. 204 means not yet; 202:
  // show it, and ask again; 205: all of the page is out of date. data-calm: not while it is pointed at or has the focus.
  function poll(element) {
    var busy = element.dataset.calm !== undefined && element.matches(':hover,:focus-within')
    if (document.hidden || busy) return setTimeout(poll, 3000, element)
    fetch(element.dataset.poll, { headers: { accept: 'text/html' } }).then(function (answer) {
      if (answer.status === 204) return setTimeout(poll, 3000, element)
      if (answer.status === 205) return location.reload()
      if (answer.status === 200 || answer.status === 202) return answer.text().then(function (html) {
        if (html !== element.shown) { // said again, it would be read aloud again
          element.innerHTML = element.shown = html
          localTimes(element)
        }
        if (answer.status === 202) setTimeout(poll, 3000, element)
      })
    }, function () { setTimeout(poll, 10000, element) })
  }

  addEventListener('keydown', function (event) {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.target.closest('input:not([type=radio],[type=checkbox]),textarea,select,dialog')) return
    var field = document.querySelector('main input[type=search]')
    if (!field) return
    event.preventDefault()
    field.focus()
    field.select()
  })

  // Esc closes what is open over the page, and the focus goes back to what opened it. Dialogs do so by themselves.
  addEventListener('keydown', function (event) {
    if (event.key !== 'Escape' || event.target.closest('dialog')) return
    var open = document.querySelector('details.pick[open],details.switch[open]')
    var menu = document.querySelector('input.menu:checked')
    if (open) {
      open.open = false
      open.querySelector('summary').focus()
    } else if (menu) {
      menu.checked = false
      menu.focus()
    }
  })

  // data-live="id": a form that filters, whose answer takes the place of that part of the page while it is typed. The
  // address follows, so that it can be kept; what is asked last counts.
  document.querySelectorAll('form[data-live]').forEach(function (form) {
    var asked, wait
    function ask() {
      var values = new URLSearchParams(new FormData(form))
      Array.from(values).forEach(function (pair) { if (!pair[1]) values.delete(pair[0]) })
      var address = form.getAttribute('action') + (String(values) && '?' + values)
      if (asked) asked.abort()
      asked = new AbortController()
      fetch(address, { headers: { accept: 'text/html' }, signal: asked.signal }).then(function (answer) {
        return answer.ok ? answer.text() : Promise.reject(answer.status)
      }).then(function (html) {
        var place = document.getElementById(form.dataset.live)
        var found = new DOMParser().parseFromString(html, 'text/html').getElementById(form.dataset.live)
        place.innerHTML = found.innerHTML
        localTimes(place)
        history.replaceState(null, '', address)
        var count = place.querySelector('[data-found]')
        say(count ? count.textContent : place.textContent.trim())
      }).catch(function () {}) // the button still works
    }
    form.addEventListener('input', function () {
      clearTimeout(wait)
      wait = setTimeout(ask, 200)
    })
  })

  // The tab of code chosen once (Python, Node, curl) is chosen in every block of every page that has it.
  function chooseTab(name) {
    document.querySelectorAll('.code>input').forEach(function (tab) {
      if (tab.getAttribute('aria-label') === name) tab.checked = true
    })
  }
  function recallTab() {
    try { return localStorage.getItem('tab') } catch (error) { return null } // the browser may keep nothing
  }
  addEventListener('change', function (event) {
    if (!event.target.matches('.code>input')) return
    var top = event.target.closest('.code').getBoundingClientRect().top
    var name = event.target.getAttribute('aria-label')
    chooseTab(name)
    scrollBy(0, event.target.closest('.code').getBoundingClientRect().top - top) // blocks above have other heights now
    try { localStorage.setItem('tab', name) } catch (error) { return }
  })

  // data-moved: an old anchor, whose section has a page of its own now.
  function followMoved() {
    var old = location.hash && document.getElementById(location.hash.slice(1))
    if (old && old.dataset.moved) location.replace(old.dataset.moved)
  }

  // A form is sent once: its button rests while the answer is on its way, and works again when the page is shown again.
  addEventListener('submit', function (event) {
    if (event.defaultPrevented || event.target.method !== 'post') return
    var button = event.submitter
    setTimeout(function () { if (button) button.disabled = true })
  })
  addEventListener('pageshow', function () {
    document.querySelectorAll('form[method=post] button[disabled]').forEach(function (button) {
      button.disabled = false
    })
  })

  // data-reveal: a box that shows the passwords of its form as they are typed.
  document.querySelectorAll('[data-reveal]').forEach(function (label) {
    label.hidden = false
    var fields = label.closest('form').querySelectorAll('input[type=password]')
    label.addEventListener('change', function (event) {
      fields.forEach(function (field) { field.type = event.target.checked ? 'text' : 'password' })
    })
  })

  // data-search: the search of a list to choose from. Headings show only above what is found.
  document.querySelectorAll('[data-search]').forEach(function (box) { box.hidden = false })
  addEventListener('input', function (event) {
    if (!event.target.closest('[data-search]')) return
    var text = event.target.value.trim().toLowerCase()
    var heading
    event.target.closest('.pick').querySelectorAll('.list > *').forEach(function (row) {
      if (row.tagName === 'P') heading = row
      row.hidden = text !== '' && (row === heading || !row.textContent.toLowerCase().includes(text))
      if (!row.hidden && heading) heading.hidden = false
    })
  })
  addEventListener('keydown', function (event) {
    if (event.key === 'Enter' && event.target.closest('[data-search]')) event.preventDefault() // it would send the form
  })

  // data-pick: a list of check boxes with a count of those chosen, and a button that chooses none, which is all. Its
  // value is what stands for all, data-of is how many there are.
  document.querySelectorAll('[data-pick]').forEach(function (pick) {
    var rows = Array.from(pick.querySelectorAll('.list label'))
    var all = pick.querySelector('[data-all]')
    function count() {
      var chosen = rows.filter(function (row) { return row.firstElementChild.checked }).length
      var text = translate('%(chosen)s of %(all)s chosen', { chosen: chosen, all: pick.dataset.of })
      pick.querySelector('[data-chosen]').textContent = chosen ? text : pick.dataset.pick
    }
    all.hidden = false
    all.addEventListener('click', function () {
      rows.forEach(function (row) { row.firstElementChild.checked = false })
      count()
    })
    pick.addEventListener('change', count)
    count()
  })

  // data-pay: the button of a form for a payment says what will be paid: the amount typed, otherwise the one chosen. Its
  // value is how amounts are written. Who chooses one after all has not typed another.
  document.querySelectorAll('[data-pay]').forEach(function (button) {
    var typed = button.form.elements.amount
    function write() {
      var chosen = button.form.querySelector('[name=preset]:checked')
      var text = typed.value.trim().replace(/^\$|,/g, '') || (chosen ? chosen.value : '')
      var amount = { minimumFractionDigits: 2, maximumFractionDigits: 2 }
      var fits = /^\d{1,9}(\.\d{0,2})?$/.test(text)
      var written = button.dataset.pay.replace('#', Number(text).toLocaleString('en-US', amount))
      button.textContent = fits ? translate('Pay %(amount)s', { amount: written }) : translate('Pay')
    }
    button.form.addEventListener('change', function (event) {
      if (event.target.name === 'preset') typed.value = ''
      write()
    })
    button.form.addEventListener('input', write)
    addEventListener('pageshow', write) // when the form has been filled in again
  })

  // A link to a field within what is folded away opens the fold.
  addEventListener('click', function (event) {
    var link = event.target.closest('.note a[href^="#"]')
    var fold = link && document.querySelector(link.getAttribute('href')).closest('details')
    if (fold) fold.open = true
  })
  document.querySelectorAll('[data-print]').forEach(function (button) { button.hidden = false })
  localTimes(document)
  chooseTab(recallTab())
  followMoved()
  addEventListener('hashchange', followMoved)
  document.querySelectorAll('[data-poll]').forEach(poll)
})()
