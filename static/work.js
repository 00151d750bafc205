// The sign-up form's check against robots: look for a number that, after the form's data-work, has a SHA-256 with as many
// zero bits in front as data-bits says. It begins when somebody types, and the form waits for it.
(function () {
  'use strict'
  var ROUNDS_AT_ONCE = 4000
  var form = document.querySelector('form[data-work]')
  if (!form) return

  var K = []
  var START = []
  ;(function () { // the first 32 bits of the fractions of the roots of the first primes (FIPS 180-4, 4.2.2 and 5.3.3)
    for (var number = 2; K.length < 64; number++) {
      var prime = true
      for (var divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) prime = false
      if (!prime) continue
      if (START.length < 8) START.push((Math.sqrt(number) % 1) * 4294967296 | 0)
      K.push((Math.cbrt(number) % 1) * 4294967296 | 0)
    }
  })()

  function turn(word, by) { return (word >>> by) | (word << (32 - by)) }

  var W = new Int32Array(64)
  function mix(state, words, block) {
    var a = state[0]
    var b = state[1]
    var c = state[2]
    var d = state[3]
    var e = state[4]
    var f = state[5]
    var g = state[6]
    var h = state[7]
    for (var i = 0; i < 64; i++) {
      if (i < 16) W[i] = words[block + i]
      else {
        var x = W[i - 15]
        var y = W[i - 2]
        W[i] = W[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + W[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10))
      }
      var one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0
      var two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + one) | 0
      d = c
      c = b
      b = a
      a = (one + two) | 0
    }
    var after = [a, b, c, d, e, f, g, h]
    for (var j = 0; j < 8; j++) state[j] = (state[j] + after[j]) | 0
  }

  // The first word of the hash of a text of ASCII; further zeros than 32 are never asked for.
  function firstWord(text) {
    var length = text.length
    var words = new Int32Array(((length + 8 >> 6) + 1) * 16)
    for (var at = 0; at < length; at++) words[at >> 2] |= text.charCodeAt(at) << (24 - (at & 3) * 8)
    words[length >> 2] |= 0x80 << (24 - (length & 3) * 8)
    words[words.length - 1] = length * 8
    var state = START.slice()
    for (var block = 0; block < words.length; block += 16) mix(state, words, block)
    return state[0] >>> 0
  }

  var bits = Number(form.dataset.bits)
  var began = false
  var wanted = null
  function look(from) {
    for (var number = from; number < from + ROUNDS_AT_ONCE; number++) {
      if (Math.clz32(firstWord(form.dataset.work + ':' + number)) >= bits) {
        form.elements.answer.value = number
        document.getElementById('work-note').textContent = ''
        if (wanted) form.requestSubmit(wanted)
        return
      }
    }
    setTimeout(look, 0, number)
  }

  function begin() {
    if (began) return
    began = true
    look(0)
  }
  form.addEventListener('input', begin)
  form.addEventListener('submit', function (event) {
    begin()
    if (form.elements.answer.value) return
    event.preventDefault()
    wanted = event.submitter
    document.getElementById('work-note').textContent = window.translate('Checking your browser…')
  })
})()
