// Passkeys: a form with data-passkey ("create" or "get") is sent with what the device has signed. Its data-options holds
// what to sign; with data-ask it is asked for at that address first. Without script, or elsewhere than at the site's own
// address, such a form stays hidden.
(function () {
  'use strict'

  function toBytes(text) {
    var plain = atob(text.replace(/-/g, '+').replace(/_/g, '/'))
    return Uint8Array.from(plain, function (letter) { return letter.charCodeAt(0) })
  }

  function toText(buffer) {
    var letters = Array.from(new Uint8Array(buffer), function (byte) { return String.fromCharCode(byte) })
    return btoa(letters.join('')).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
  }

  function decode(options) {
    options.challenge = toBytes(options.challenge)
    if (options.user) options.user.id = toBytes(options.user.id)
    ;['excludeCredentials', 'allowCredentials'].forEach(function (name) {
      (options[name] || []).forEach(function (known) { known.id = toBytes(known.id) })
    })
    return options
  }

  function encode(credential) {
    var answer = credential.response
    var said = { clientDataJSON: toText(answer.clientDataJSON) }
    ;['attestationObject', 'authenticatorData', 'signature', 'userHandle'].forEach(function (name) {
      if (answer[name]) said[name] = toText(answer[name])
    })
    return JSON.stringify({
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      response: said,
      clientExtensionResults: {}
    })
  }

  function ask(form) {
    if (!form.dataset.ask) return Promise.resolve(JSON.parse(form.dataset.options))
    var body = new FormData(form)
    return fetch(form.dataset.ask, { method: 'POST', body: body }).then(function (answer) {
      if (!answer.ok) throw new Error('refused')
      return answer.json()
    })
  }

  function sign(event) {
    var form = event.target
    if (form.elements.credential.value) return
    event.preventDefault()
    var note = form.querySelector('[data-passkey-note]')
    note.textContent = ''
    ask(form).then(function (options) {
      var wanted = { publicKey: decode(options) }
      return navigator.credentials[form.dataset.passkey](wanted)
    }).then(function (credential) {
      form.elements.credential.value = encode(credential)
      form.requestSubmit()
    }).catch(function () {
      note.textContent = window.translate('The browser did not use a passkey. Try again, or use another way.')
    })
  }

  document.querySelectorAll('form[data-passkey]').forEach(function (form) {
    if (!window.PublicKeyCredential || location.origin !== form.dataset.origin) return
    form.hidden = false
    document.querySelectorAll('[data-passkey-absent]').forEach(function (text) { text.hidden = true })
    form.addEventListener('submit', sign)
  })
})()
