// Judges runs of the public HTTP cache tests: the score beside that of other caches, what does not pass, and whether
// that was expected. Exits with 1 when the expectation is not exact or the runs differ.
//   node conformance-judge.mjs PACKAGE_DIR EXPECTED.json... -- RUN.json...
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const args = process.argv.slice(2)
const packageDir = resolve(args[0])
const expectedFiles = args.slice(1, args.indexOf('--'))
const runFiles = args.slice(args.indexOf('--') + 1)

const load = path => import(pathToFileURL(join(packageDir, path)))
const json = path => JSON.parse(readFileSync(path, 'utf8'))
// The package's own judge: it honours dependencies, failed set-ups and retries.
const { determineTestResult } = await load('lib/display.mjs')
const { default: suites } = await load('tests/index.mjs')
// Not a part of the package's index: Surrogate-Control is no part of RFC 9111 nor of any other standard.
const { default: surrogate } = await load('tests/surrogate-control.mjs')
const allSuites = [...suites, surrogate]

const KINDS = ['required', 'optimal', 'check']
const WORDS = { '✅': 'pass', Y: 'pass', '🔹': 'setup failed', '⚪️': 'dependency failed', '↻': 'retried', '⁉️': 'harness failed', '-': 'not run' }
const kindOf = test => test.kind ?? 'required'
const testsOf = suite => suite.tests.filter(test => !test.browser_only)
const judged = suites.flatMap(testsOf)
const outcome = (test, results, dependencies = true) =>
  WORDS[determineTestResult(allSuites, test.id, results, dependencies)[2]] ?? 'failed'
const passes = (test, results) => outcome(test, results) === 'pass'

async function otherCaches () {
  const { default: list } = await load('results/index.mjs')
  return list.filter(cache => cache.type !== 'browser')
    .map(cache => ({ name: cache.name, results: json(join(packageDir, 'results', cache.file)) }))
}

function row (label, tests, caches) {
  const scores = caches.map(cache => tests.filter(test => passes(test, cache.results)).length)
  return [...label, tests.length, ...scores]
}

function rows (label, tests, caches) {
  const ofKind = kind => tests.filter(test => kindOf(test) === kind)
  return KINDS.filter(kind => ofKind(kind).length > 0).map(kind => row([label, kind], ofKind(kind), caches))
}

function print (table) {
  const widths = table[0].map((_, column) => Math.max(...table.map(cells => String(cells[column]).length)))
  for (const cells of table) {
    console.log(cells.map((cell, i) => i < 2 ? cell.padEnd(widths[i]) : String(cell).padStart(widths[i])).join('  '))
  }
}

function printScores (caches) {
  print([
    ['suite', 'kind', 'of', ...caches.map(cache => cache.name)],
    ...suites.flatMap(suite => rows(suite.id, testsOf(suite), caches)),
    ...rows('TOTAL', judged, caches),
    ...rows('surrogate-control', testsOf(surrogate), caches).map(cells => [`(${cells[0]})`, ...cells.slice(1)]),
    ...rows('TOTAL with it', [...judged, ...testsOf(surrogate)], caches)
  ])
  console.log('Each number is how many of the tests pass. surrogate-control is shown for information only.')
}

function readExpected () {
  const expected = new Map()
  for (const entry of expectedFiles.flatMap(json)) {
    const test = judged.find(({ id }) => id === entry.id)
    if (!test || kindOf(test) !== entry.kind || entry.kind === 'check' || !entry.reason || expected.has(entry.id)) {
      throw new Error(`${expectedFiles}: "${entry.id}" must name a required or optimal test once, with its kind and a reason`)
    }
    expected.set(entry.id, entry.reason)
  }
  return expected
}

// What is wrong with the expectation, over all runs: tests that fail unlisted, and listed tests that pass.
function surprises (runs, expected) {
  const found = []
  for (const test of judged.filter(test => kindOf(test) !== 'check')) {
    const failed = runs.filter(results => !passes(test, results)).length
    if (failed > 0 && !expected.has(test.id)) found.push(`${test.id} does not pass and is not listed`)
    if (failed < runs.length && expected.has(test.id)) found.push(`${test.id} is listed but passes: take it off the list`)
  }
  return found
}

// Outcomes before dependencies are considered, so that one unsteady test does not hide behind another.
function differences (runs) {
  return allSuites.flatMap(testsOf)
    .map(test => ({ id: test.id, outcomes: runs.map(results => outcome(test, results, false)) }))
    .filter(({ outcomes }) => new Set(outcomes).size > 1)
    .map(({ id, outcomes }) => `${id} differs between the runs: ${outcomes.join(', ')}`)
}

function printFailures (runs, expected) {
  for (const kind of ['required', 'optimal']) {
    const failed = judged.filter(test => kindOf(test) === kind && runs.some(results => !passes(test, results)))
    console.log(`\n${kind} tests that do not pass: ${failed.length || 'none'}`)
    for (const test of failed) {
      const results = runs.find(results => !passes(test, results))
      const why = outcome(test, results)
      const message = [results[test.id] ?? []].flat().filter(part => part !== true).join(': ')
      console.log(`  ${test.id} (${why})${message && `: ${message}`}`)
      if (expected.has(test.id)) console.log(`    expected: ${expected.get(test.id)}`)
    }
  }
}

const runs = runFiles.map(json)
const expected = readExpected()
printScores([{ name: 'tested', results: runs[0] }, ...await otherCaches()])
printFailures(runs, expected)
const problems = [...surprises(runs, expected), ...differences(runs)]
console.log(problems.length ? `\nNOT AS EXPECTED:\n  ${problems.join('\n  ')}` : '\nAs expected.')
process.exitCode = problems.length ? 1 : 0
