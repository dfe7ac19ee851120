// Reads diagrams, a JSON object by name, and prints those that Mermaid does not
// parse, with the reason, as another.
import { readFileSync } from 'node:fs'
import { JSDOM } from 'jsdom'

// Mermaid cleans labels with the parser of the page that it expects to be in.
const { window } = new JSDOM('')
globalThis.window = window
globalThis.document = window.document
const { default: mermaid } = await import('mermaid')

const wrong = {}
for (const [name, diagram] of Object.entries(JSON.parse(readFileSync(0, 'utf8')))) {
  try {
    await mermaid.parse(diagram)
  } catch (error) {
    wrong[name] = error.message
  }
}
console.log(JSON.stringify(wrong))
