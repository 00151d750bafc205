// Keeps of a stylesheet the rules whose names occur anywhere in templates, scripts or code, however they are put
// together there. Called by vendor.sh: the checkout, the stylesheet, and the file to write.
import fs from 'node:fs'
import { PurgeCSS } from 'purgecss'

const [root, stylesheet, out] = process.argv.slice(2)
const [kept] = await new PurgeCSS().purge({
  content: [`${root}/templates/**/*.html`, `${root}/static/*.js`, `${root}/bridge/**/*.py`],
  css: [stylesheet],
  defaultExtractor: (text) => text.match(/[A-Za-z][\w-]*/g) ?? [],
})
fs.writeFileSync(out, `${kept.css}\n`)
